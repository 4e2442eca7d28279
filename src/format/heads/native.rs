//! Our own head files: safetensors with what [`Heads`] holds.
//!
//! | tensor | shape | |
//! |---|---|---|
//! | `K.B.linear.weight` | `[D, in]` | block B of head K |
//! | `K.B.linear.bias` | `[D]` | |
//! | `K.B.residual.weight` | `[D, in]` | where input and output differ in width |
//! | `K.N.weight` | `[V', D]` | own projection behind N blocks |
//! | `draft_vocab` | `[V']` u32 | where heads guess only these |
//!
//! A matrix `NAME` is stored as f32 or f16, or in 8 bits as `NAME.codes` (i8) and `NAME.scales` (f16,
//! one for 32 columns). Metadata: `coppice_heads` (version), `kind`, `width`, `vocab`, `embed_scale`
//! and `record`, a JSON object.

use std::{collections::HashMap, io::Write as _, path::Path};

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    Dense, Head, HeadKind, Heads, ResBlock,
    description::{Description, VERSION, damaged, describe_native},
};
use crate::format::{FormatError, Map};

/// Columns that share a scale.
const BLOCK: usize = 32;
/// Most heads, and blocks of a head, that a file may name.
const MOST: usize = 64;

/// How matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As they are.
    F32,
    /// Rounded to f16.
    F16,
    /// Codes of 8 bits with an f16 scale for 32 columns.
    Q8,
}

/// Bytes of one tensor.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Writes heads; a file that is there stays until the new one is complete.
///
/// # Errors
/// A file that cannot be written, values beyond f16, and [`Precision::Q8`] for widths that are no
/// multiple of 32.
pub fn save_native(heads: &Heads, path: &Path, precision: Precision) -> Result<(), FormatError> {
    let fault = |message: String| FormatError::File { file: path.to_owned(), message, hint: None };
    let mut stored = Vec::new();
    let vector = |name: String, values: &[f32]| Stored {
        name,
        dtype: Dtype::F32,
        shape: vec![values.len()],
        bytes: bytemuck::cast_slice(values).to_vec(),
    };
    for (k, head) in heads.heads.iter().enumerate() {
        for (b, block) in head.blocks.iter().enumerate() {
            matrix(&mut stored, format!("{k}.{b}.linear.weight"), &block.weight, precision)
                .map_err(fault)?;
            stored.push(vector(format!("{k}.{b}.linear.bias"), &block.bias));
            if let Some(residual) = &block.residual {
                matrix(&mut stored, format!("{k}.{b}.residual.weight"), residual, precision)
                    .map_err(fault)?;
            }
        }
        if let Some(projection) = &head.projection {
            let name = format!("{k}.{}.weight", head.blocks.len());
            matrix(&mut stored, name, projection, precision).map_err(fault)?;
        }
    }
    if let Some(ids) = &heads.draft_vocab {
        stored.push(Stored {
            name: "draft_vocab".into(),
            dtype: Dtype::U32,
            shape: vec![ids.len()],
            bytes: bytemuck::cast_slice(ids).to_vec(),
        });
    }
    let kind = serde_json::to_value(heads.kind).expect("a name");
    let metadata = HashMap::from(
        [
            ("coppice_heads", VERSION.to_owned()),
            ("kind", kind.as_str().unwrap_or_default().to_owned()),
            ("width", heads.width.to_string()),
            ("vocab", heads.vocab.to_string()),
            ("embed_scale", heads.embed_scale.to_string()),
            ("record", serde_json::to_string(&heads.record).expect("plain data")),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let views = stored.iter().map(|s| {
        let view = TensorView::new(s.dtype, s.shape.clone(), &s.bytes);
        (s.name.as_str(), view.expect("as many bytes as elements"))
    });
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| fault(format!("{e}")))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(|source| FormatError::Io { action: "write", path: path.to_owned(), source })
}

/// Appends a matrix as one tensor, or as codes and scales.
fn matrix(
    out: &mut Vec<Stored>,
    name: String,
    dense: &Dense,
    precision: Precision,
) -> Result<(), String> {
    let Dense { rows, cols, data } = dense;
    let mut push = |name: String, dtype, cols: usize, bytes: Vec<u8>| {
        out.push(Stored { name, dtype, shape: vec![*rows, cols], bytes });
    };
    match precision {
        Precision::F32 => push(name, Dtype::F32, *cols, bytemuck::cast_slice(data).to_vec()),
        Precision::F16 => {
            let halves: Vec<f16> = data.iter().copied().map(f16::from_f32).collect();
            within(&name, data, halves.iter().map(|half| half.is_finite()))?;
            push(name, Dtype::F16, *cols, bytemuck::cast_slice(&halves).to_vec());
        }
        Precision::Q8 => {
            if !cols.is_multiple_of(BLOCK) {
                return Err(format!(
                    "`{name}` has {cols} columns, 8 bits want multiples of {BLOCK}"
                ));
            }
            let (mut codes, mut scales) = (Vec::<i8>::new(), Vec::<f16>::new());
            for block in data.chunks_exact(BLOCK) {
                let most = block.iter().fold(0f32, |most, x| most.max(x.abs()));
                let scale = f16::from_f32(most / 127.0);
                let factor = if scale > f16::ZERO { 1.0 / scale.to_f32() } else { 0.0 };
                codes.extend(block.iter().map(|x| (x * factor).round().clamp(-127.0, 127.0) as i8));
                scales.push(scale);
            }
            let finite = scales.iter().flat_map(|scale| [scale.is_finite(); BLOCK]);
            within(&name, data, finite)?;
            let bytes = bytemuck::cast_slice(&codes).to_vec();
            push(format!("{name}.codes"), Dtype::I8, *cols, bytes);
            let bytes = bytemuck::cast_slice(&scales).to_vec();
            push(format!("{name}.scales"), Dtype::F16, cols / BLOCK, bytes);
        }
    }
    Ok(())
}

/// Fails with the first value that has no finite form.
fn within(name: &str, data: &[f32], mut finite: impl Iterator<Item = bool>) -> Result<(), String> {
    match finite.position(|finite| !finite) {
        None => Ok(()),
        Some(at) => Err(format!("`{name}`: value {at}, {}, is beyond 16 bits", data[at])),
    }
}

/// Reads heads that [`save_native`] wrote.
///
/// # Errors
/// A file that cannot be read, is damaged, of another layout or version; shapes that do not fit each
/// other are named.
pub fn load_native(path: &Path) -> Result<Heads, FormatError> {
    read_native(path, Map::open(path)?.bytes())
}

/// Reads heads from the bytes of a file that [`save_native`] wrote; `path` is its name in errors.
///
/// # Errors
/// As [`load_native`].
pub fn read_native(path: &Path, bytes: &[u8]) -> Result<Heads, FormatError> {
    let Description { kind, width, vocab, embed_scale, record } = describe_native(path, bytes)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(path, e.to_string()))?;
    let file = Reader { path, tensors };
    let draft_vocab = file.ids("draft_vocab", vocab)?;
    let outputs = draft_vocab.as_ref().map_or(vocab, Vec::len);
    let mut heads = Vec::new();
    while heads.len() < MOST && file.has(&format!("{}.0.linear.weight", heads.len())) {
        heads.push(file.head(heads.len(), (kind, width, outputs))?);
    }
    if heads.is_empty() {
        let tensor = "0.0.linear.weight".into();
        return Err(FormatError::MissingTensor { file: path.to_owned(), tensor });
    }
    Ok(Heads { kind, width, vocab, draft_vocab, embed_scale, heads, record })
}

/// Tensors of an open file.
struct Reader<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Reader<'_> {
    fn fault(&self, tensor: &str, message: String) -> FormatError {
        FormatError::Tensor { file: self.path.to_owned(), tensor: tensor.into(), message }
    }

    fn has(&self, name: &str) -> bool {
        [name, &format!("{name}.codes")].iter().any(|name| self.tensors.tensor(name).is_ok())
    }

    fn head(
        &self,
        k: usize,
        (kind, width, outputs): (HeadKind, usize, usize),
    ) -> Result<Head, FormatError> {
        let mut blocks = Vec::new();
        while blocks.len() < MOST && self.has(&format!("{k}.{}.linear.weight", blocks.len())) {
            let b = blocks.len();
            let input = match (kind, b) {
                (HeadKind::Sequential, 0) => (k + 2) * width,
                _ => width,
            };
            let weight = self.matrix(&format!("{k}.{b}.linear.weight"), width, input)?;
            let bias = self.vector(&format!("{k}.{b}.linear.bias"), width)?;
            let name = format!("{k}.{b}.residual.weight");
            let residual = self.has(&name).then(|| self.matrix(&name, width, input)).transpose()?;
            if residual.is_none() && input != width {
                let (file, tensor) = (self.path.to_owned(), name);
                return Err(FormatError::MissingTensor { file, tensor });
            }
            blocks.push(ResBlock { weight, bias, residual });
        }
        let name = format!("{k}.{}.weight", blocks.len());
        let projection = self.has(&name).then(|| self.matrix(&name, outputs, width)).transpose()?;
        Ok(Head { blocks, projection })
    }

    /// A tensor's bytes, if it has this type and shape.
    fn bytes(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&[u8], FormatError> {
        let tensor = self.tensors.tensor(name).map_err(|_| FormatError::MissingTensor {
            file: self.path.to_owned(),
            tensor: name.into(),
        })?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            let (found, dims) = (tensor.dtype(), tensor.shape());
            return Err(
                self.fault(name, format!("is {found:?} {dims:?}, wanted {dtype:?} {shape:?}"))
            );
        }
        Ok(tensor.data())
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, FormatError> {
        let bytes = self.bytes(name, Dtype::F32, &[len])?;
        self.finite(name, bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect())
    }

    fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Dense, FormatError> {
        let shape = [rows, cols];
        let half = |bytes: &[u8]| bytemuck::pod_read_unaligned::<f16>(bytes).to_f32();
        let data = match self.tensors.tensor(name).map(|tensor| tensor.dtype()) {
            Err(_) => {
                let codes = self.bytes(&format!("{name}.codes"), Dtype::I8, &shape)?;
                let blocks = [rows, cols / BLOCK];
                let scales = self.bytes(&format!("{name}.scales"), Dtype::F16, &blocks)?;
                if !cols.is_multiple_of(BLOCK) {
                    return Err(
                        self.fault(name, format!("has {cols} columns in blocks of {BLOCK}"))
                    );
                }
                let scales = scales.chunks_exact(2).map(half);
                let mut data = Vec::with_capacity(rows * cols);
                for (block, s) in codes.chunks_exact(BLOCK).zip(scales) {
                    data.extend(block.iter().map(|&c| s * f32::from(c as i8)));
                }
                data
            }
            Ok(Dtype::F16) => {
                self.bytes(name, Dtype::F16, &shape)?.chunks_exact(2).map(half).collect()
            }
            Ok(_) => {
                let bytes = self.bytes(name, Dtype::F32, &shape)?;
                bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect()
            }
        };
        Ok(Dense { rows, cols, data: self.finite(name, data)? })
    }

    fn finite(&self, name: &str, values: Vec<f32>) -> Result<Vec<f32>, FormatError> {
        match values.iter().position(|x| !x.is_finite()) {
            None => Ok(values),
            Some(at) => Err(self.fault(name, format!("value {at} is {}", values[at]))),
        }
    }

    /// Rising ids below `vocab`.
    fn ids(&self, name: &str, vocab: usize) -> Result<Option<Vec<u32>>, FormatError> {
        let Ok(tensor) = self.tensors.tensor(name) else { return Ok(None) };
        let bytes = self.bytes(name, Dtype::U32, tensor.shape())?;
        let ids: Vec<u32> = bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        let rising = ids.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || ids.last().is_none_or(|&last| last as usize >= vocab) {
            return Err(self.fault(name, format!("{} ids do not rise below {vocab}", ids.len())));
        }
        Ok(Some(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::heads::HeadRecord;

    fn dense(rows: usize, cols: usize, seed: usize) -> Dense {
        let value = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0;
        Dense { rows, cols, data: (0..rows * cols).map(value).collect() }
    }

    fn heads(kind: HeadKind) -> Heads {
        let block = |seed, cols: usize| ResBlock {
            weight: dense(32, cols, seed),
            bias: dense(1, 32, seed + 1).data,
            residual: (cols != 32).then(|| dense(32, cols, seed + 2)),
        };
        let head = |k: usize| Head {
            blocks: match kind {
                HeadKind::Sequential => vec![block(k, 32 * (k + 2)), block(k + 3, 32)],
                HeadKind::Independent => vec![block(k, 32)],
            },
            projection: (kind == HeadKind::Independent).then(|| dense(5, 32, k)),
        };
        Heads {
            kind,
            width: 32,
            vocab: 90,
            draft_vocab: Some(vec![1, 4, 7, 50, 89]),
            embed_scale: 7.625,
            heads: vec![head(0), head(1)],
            record: HeadRecord {
                base_model: Some("a".into()),
                accuracy: vec![vec![0.5, 0.25], vec![0.125]],
                ..HeadRecord::default()
            },
        }
    }

    fn all_values(heads: &Heads) -> Vec<f32> {
        let blocks = heads.heads.iter().flat_map(|head| &head.blocks);
        blocks.flat_map(|block| [&block.weight.data, &block.bias]).flatten().copied().collect()
    }

    #[test]
    fn heads_come_back_in_every_precision() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("heads.safetensors");
        for kind in [HeadKind::Sequential, HeadKind::Independent] {
            let heads = heads(kind);
            for (precision, error) in
                [(Precision::F32, 0.0), (Precision::F16, 5e-4), (Precision::Q8, 5e-3)]
            {
                save_native(&heads, &path, precision).expect("written");
                let back = load_native(&path).expect("readable");
                for (got, wanted) in all_values(&back).iter().zip(all_values(&heads)) {
                    assert!((got - wanted).abs() <= error, "{precision:?}: {got} {wanted}");
                }
                let bare = |heads: &Heads| Heads { heads: vec![], ..heads.clone() };
                assert_eq!(bare(&back), bare(&heads));
                assert_eq!(back == heads, precision == Precision::F32);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("heads.safetensors");
        let refused = |change: fn(&mut Heads), said: &str| {
            let mut heads = heads(HeadKind::Sequential);
            change(&mut heads);
            save_native(&heads, &path, Precision::F32).expect("written");
            let error = load_native(&path).expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
        };
        refused(|heads| heads.width = 64, "0.0.linear.weight");
        refused(|heads| heads.vocab = 80, "draft_vocab");
        refused(|heads| heads.heads[1].blocks[0].residual = None, "1.0.residual.weight");
        refused(|heads| heads.heads[1].blocks[1].bias[3] = f32::NAN, "1.1.linear.bias");
        refused(|heads| heads.heads.clear(), "missing");
        std::fs::write(&path, b"short").expect("writable");
        assert!(load_native(&path).is_err());
    }
}
