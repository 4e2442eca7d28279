//! The published layouts of Medusa heads, told apart by the names of their tensors.
//!
//! Configurations beside the files are not trusted: they name a number of heads that the files do not
//! have. Names are.

use std::{collections::BTreeMap, fmt};

use super::{Dense, Head, HeadKind, HeadRecord, Heads, ResBlock, store::Store};
use crate::format::FormatError;

/// Most heads of a file.
pub(super) const MAX_HEADS: usize = 16;
/// Most blocks of a head.
pub(super) const MAX_BLOCKS: usize = 8;

/// How a file lays its heads out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Our own: [`super::save_native`].
    Coppice,
    /// `{i}.{j}.linear.weight`, `{i}.{j}.linear.bias`, `{i}.{n}.weight`: Medusa v0.1, and others
    /// that kept its names.
    Separate,
    /// The same behind a prefix such as `medusa_head.`, beside a whole model: Medusa v1.0.
    Merged,
    /// The same without projections, which are the target's: text-generation-inference.
    Shared,
    /// `blocks.{i}.layers.{j}.weight`, `lm_heads.{i}.weight`, `token_map`: vLLM.
    Vllm,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coppice => "Coppice",
            Self::Separate => "Medusa v0.1, heads of their own",
            Self::Merged => "Medusa v1.0, merged with a model",
            Self::Shared => "Medusa with the target's output matrix",
            Self::Vllm => "vLLM",
        })
    }
}

/// Names of the tensors of one head.
#[derive(Clone, Debug, Default)]
struct Names {
    /// Weight and bias, by number.
    blocks: BTreeMap<usize, (Option<String>, Option<String>)>,
    projection: Option<String>,
}

/// Heads of one kind of names behind one prefix.
#[derive(Clone, Debug, Default)]
struct Family {
    heads: BTreeMap<usize, Names>,
}

/// What a name is a part of.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Block {
        prefix: &'a str,
        vllm: bool,
        head: usize,
        block: usize,
        bias: bool,
    },
    /// `{i}.{n}.weight`: a projection if the family has exactly `n` blocks a head.
    Last {
        prefix: &'a str,
        head: usize,
        block: usize,
    },
    VllmProjection {
        prefix: &'a str,
        head: usize,
    },
}

/// Reads heads of any published layout.
pub(super) fn read(store: &Store) -> Result<(Layout, Heads), FormatError> {
    let mut families: BTreeMap<(&str, bool), Family> = BTreeMap::new();
    for name in store.names() {
        if let Some(Part::Block { prefix, vllm, head, block, bias }) = part(name) {
            let family = families.entry((prefix, vllm)).or_default();
            let slot = family.heads.entry(head).or_default().blocks.entry(block).or_default();
            *(if bias { &mut slot.1 } else { &mut slot.0 }) = Some(name.to_owned());
        }
    }
    for name in store.names() {
        match part(name) {
            Some(Part::Last { prefix, head, block }) => {
                if let Some(family) = families.get_mut(&(prefix, false))
                    && let Some(names) = family.heads.get_mut(&head)
                    && names.blocks.len() == block
                {
                    names.projection = Some(name.to_owned());
                }
            }
            Some(Part::VllmProjection { prefix, head }) => {
                if let Some(names) =
                    families.get_mut(&(prefix, true)).and_then(|f| f.heads.get_mut(&head))
                {
                    names.projection = Some(name.to_owned());
                }
            }
            _ => {}
        }
    }
    let mut families = families.into_iter();
    let (Some(((prefix, vllm), family)), None) = (families.next(), families.next()) else {
        return Err(unknown(store));
    };
    if vllm {
        return Ok((Layout::Vllm, vllm_heads(store, prefix, &family)?));
    }
    let heads = assemble(store, &family, None)?;
    let layout = match (heads.heads.iter().all(|head| head.projection.is_none()), prefix) {
        (true, _) => Layout::Shared,
        (false, "") => Layout::Separate,
        (false, _) => Layout::Merged,
    };
    Ok((layout, heads))
}

/// Whether every name is a part of heads.
pub(super) fn is_only_heads(store: &Store) -> bool {
    let mut blocks = false;
    let known = |name: &str| match part(name) {
        Some(Part::Block { .. }) => {
            blocks = true;
            true
        }
        Some(_) => true,
        None => name.ends_with("token_map"),
    };
    store.names().all(known) && blocks
}

/// What to say about a file in which no heads are found: the names that it has.
fn unknown(store: &Store) -> FormatError {
    const SHOWN: usize = 6;
    let all: Vec<&str> = store.names().collect();
    let mut found: Vec<String> =
        all.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug())).collect();
    if all.len() > SHOWN {
        found.push(format!("and {} more", all.len() - SHOWN));
    }
    let message = match all.is_empty() {
        true => "there are no tensors".to_owned(),
        false => format!("no layout of heads has these tensors: {}", found.join(", ")),
    };
    let hint = "known are Coppice's own, Medusa's `0.0.linear.weight` with or without a prefix, and \
                vLLM's `blocks.0.layers.0.weight`";
    store.error(message, Some(hint.into()))
}

/// What a name says.
fn part(name: &str) -> Option<Part<'_>> {
    let mut words: Vec<&str> = name.split('.').collect();
    let bias = match words.pop()? {
        "weight" => false,
        "bias" => true,
        _ => return None,
    };
    // `prefix` as the beginning of the name, with its dot.
    let prefix = |words: &[&str]| {
        let len = words.iter().map(|word| word.len() + 1).sum();
        &name[..len]
    };
    match words[..] {
        [ref rest @ .., "blocks", head, "layers", block] => Some(Part::Block {
            prefix: prefix(rest),
            vllm: true,
            head: number(head)?,
            block: number(block)?,
            bias,
        }),
        [ref rest @ .., "lm_heads", head] if !bias => {
            Some(Part::VllmProjection { prefix: prefix(rest), head: number(head)? })
        }
        [ref rest @ .., head, block, "linear"] => Some(Part::Block {
            prefix: prefix(rest),
            vllm: false,
            head: number(head)?,
            block: number(block)?,
            bias,
        }),
        [ref rest @ .., head, block] if !bias => {
            Some(Part::Last { prefix: prefix(rest), head: number(head)?, block: number(block)? })
        }
        _ => None,
    }
}

/// A small number in plain digits.
fn number(word: &str) -> Option<usize> {
    (word.len() <= 4 && word.bytes().all(|b| b.is_ascii_digit())).then(|| word.parse().ok())?
}

/// Heads with the projections that their names give, or `shared` for all.
fn assemble(store: &Store, family: &Family, shared: Option<&str>) -> Result<Heads, FormatError> {
    let count = family.heads.len();
    let deepest = family.heads.values().map(|names| names.blocks.len()).max().unwrap_or(0);
    let last = family.heads.keys().next_back().copied().unwrap_or(0);
    if last + 1 != count || count > MAX_HEADS || deepest > MAX_BLOCKS {
        return Err(store.error(
            format!(
                "there are {count} heads up to number {last} with up to {deepest} blocks each, \
                 wanted heads without gaps, at most {MAX_HEADS} of at most {MAX_BLOCKS} blocks"
            ),
            None,
        ));
    }
    let mut heads = Vec::with_capacity(count);
    for (index, names) in &family.heads {
        let mut blocks = Vec::with_capacity(names.blocks.len());
        for (place, (number, (weight, bias))) in names.blocks.iter().enumerate() {
            let Some(weight) = weight.as_ref().filter(|_| place == *number) else {
                let message = format!("head {index} lacks the weight of block {place}");
                return Err(store.error(message, None));
            };
            let weight = store.matrix(weight)?;
            let bias = match bias {
                Some(bias) => store.vector(bias)?,
                None => vec![0.0; weight.rows],
            };
            blocks.push(ResBlock { weight, bias, residual: None });
        }
        let projection = names.projection.as_deref().or(shared);
        let projection: Option<Dense> = projection.map(|name| store.matrix(name)).transpose()?;
        heads.push(Head { blocks, projection });
    }
    let width = heads[0].blocks[0].weight.rows;
    let vocab = heads[0].projection.as_ref().map_or(0, |projection| projection.rows);
    Ok(Heads {
        kind: HeadKind::Independent,
        width,
        vocab,
        draft_vocab: None,
        embed_scale: 1.0,
        heads,
        record: HeadRecord::default(),
    })
}

/// vLLM's extras: one projection for all heads, and a reduced vocabulary.
fn vllm_heads(store: &Store, prefix: &str, family: &Family) -> Result<Heads, FormatError> {
    let shared = format!("{prefix}lm_head.weight");
    let shared = Some(shared.as_str()).filter(|name| store.has(name));
    let mut heads = assemble(store, family, shared)?;
    let map = format!("{prefix}token_map");
    if !store.has(&map) {
        return Ok(heads);
    }
    let ids = store.ids(&map)?;
    // Rows come in any order; ours rise.
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|&row| ids[row]);
    if let Some(pair) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
        return Err(store.fault(&map, format!("has token {} twice", ids[pair[0]])));
    }
    for head in &mut heads.heads {
        let Some(projection) = &mut head.projection else {
            return Err(store.fault(&map, "needs projections of its own".into()));
        };
        if projection.rows != ids.len() {
            let rows = projection.rows;
            let message = format!("has {} tokens for projections of {rows}", ids.len());
            return Err(store.fault(&map, message));
        }
        let cols = projection.cols;
        let row = |row: &usize| &projection.data[row * cols..][..cols];
        projection.data = order.iter().flat_map(row).copied().collect();
    }
    heads.draft_vocab = Some(order.iter().map(|&row| ids[row]).collect());
    heads.vocab = 0;
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are_parts_of() {
        let block =
            |prefix, vllm, head, block, bias| Some(Part::Block { prefix, vllm, head, block, bias });
        for (name, wanted) in [
            ("0.0.linear.weight", block("", false, 0, 0, false)),
            ("medusa_head.3.1.linear.bias", block("medusa_head.", false, 3, 1, true)),
            ("2.1.weight", Some(Part::Last { prefix: "", head: 2, block: 1 })),
            ("medusa_heads.blocks.4.layers.0.weight", block("medusa_heads.", true, 4, 0, false)),
            ("lm_heads.2.weight", Some(Part::VllmProjection { prefix: "", head: 2 })),
            ("lm_heads.2.bias", None),
            ("model.layers.0.mlp.down_proj.weight", None),
            ("0.x.linear.weight", None),
            ("99999.0.linear.weight", None),
            ("+1.0.linear.weight", None),
            ("weight", None),
            ("token_map", None),
            ("", None),
        ] {
            assert_eq!(part(name), wanted, "{name}");
        }
    }
}
