//! Cases of `tree_attention`.

use super::pages::{Cache, FORMATS, draw_format};
use crate::{
    check::{
        Draw, ModelSizes, Random,
        case::{Build, Case, Expect, Handle, Rule, Tensor, Views},
    },
    dtype::DType,
    ops::{KvFormat, KvLayer, RowMeta, TreeAttention},
};

/// Rounding of scores is amplified by `exp`; the magnitude accounts for it.
const RULE: Rule = Rule::Bound { units: 16.0 };

#[derive(Clone, Copy)]
struct Shape {
    format: KvFormat,
    m: usize,
    h: usize,
    g: usize,
    d: usize,
    page: usize,
    /// Pages of each table row.
    pages: usize,
    /// Longest path.
    path: usize,
    window: usize,
    per_head: bool,
    gap: usize,
}

impl Shape {
    fn max_context(&self) -> usize {
        self.pages * self.page + self.path
    }

    fn name(&self) -> String {
        let Self { format, m, h, g, d, page, pages, path, window, per_head, gap } = self;
        format!(
            "{}, m={m}, h={h}, g={g}, d={d}, page={page}, pages={pages}, path={path}, \
             window={window}, per_head={per_head}, gap={gap}",
            format.name()
        )
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in FORMATS {
        let base = Shape {
            format,
            m: 5,
            h: 4,
            g: 2,
            d: 32,
            page: 16,
            pages: 9,
            path: 5,
            window: 0,
            per_head: false,
            gap: 0,
        };
        cases.push(case(Shape { m: 64, ..base }).sweep());
        cases.push(case(Shape { m: 1, h: 1, g: 1, page: 1, pages: 1, path: 1, ..base }));
        cases.push(case(Shape { h: 8, g: 1, d: 64, ..base }));
        cases.push(case(Shape { h: 3, g: 3, d: 64, page: 7, pages: 20, gap: 64, ..base }));
        cases.push(case(Shape { m: 3, h: 4, g: 1, d: 256, page: 64, pages: 3, ..base }));
        cases.push(case(Shape { m: 9, h: 9, g: 3, d: 64, pages: 19, gap: 7, ..base }));
        cases.push(case(Shape { m: 9, per_head: true, ..base }));
        for window in [1, 7, 40] {
            cases.push(case(Shape { m: 9, window, ..base }));
        }
        // more rows than a tree has: in slots of their own, and as a chunk of one prompt
        cases.push(case(Shape { m: 70, d: 64, pages: 3, ..base }));
        for window in [0, 20] {
            cases.push(chunk(Shape { m: 70, d: 64, pages: 23, path: 70, window, ..base }).sweep());
        }
        // long paths that share nothing, behind one prefix: more slots than any kernel holds at once
        cases.push(apart(Shape { m: 20, path: 21, ..base }).sweep());
        for window in [0, 20] {
            cases.push(tree_is_path(Shape { pages: 17, path: 4, window, h: 2, g: 1, ..base }));
        }
    }
    for format in [KvFormat::F32, KvFormat::F16] {
        let (page, per_head, gap) = (3, true, 2);
        let shape = Shape { format, m: 4, h: 6, g: 2, d: 10, page, pages: 11, path: 3, ..SMALL };
        cases.push(case(Shape { per_head, gap, ..shape }));
    }
    cases
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let (format, head) = draw_format(d);
    let (m, g) = (d.size(64), d.size(4));
    let h = g * d.size(4);
    let page = d.size(64);
    let pages = d.size((400 / page).min(20));
    let (path, window) = (d.size(16), if d.flag() { d.size(60) } else { 0 });
    let per_head = d.flag();
    let shape =
        Shape { format, m, h, g, d: head, page, pages, path, window, per_head, gap: d.gap() };
    d.sweep(case(shape))
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    let shape = |format| Shape {
        format,
        m,
        h: s.heads,
        g: s.kv_heads,
        d: s.head,
        page: 64,
        pages: s.context / 64,
        path: m.min(16),
        window: 0,
        per_head: false,
        gap: 0,
    };
    [KvFormat::F16, KvFormat::Q8_0].map(|format| case(shape(format))).into()
}

const SMALL: Shape = Shape {
    format: KvFormat::F32,
    m: 1,
    h: 1,
    g: 1,
    d: 2,
    page: 1,
    pages: 1,
    path: 1,
    window: 0,
    per_head: false,
    gap: 0,
};

/// State of the rows.
#[derive(Clone)]
struct Rows {
    seq: Vec<u32>,
    /// One a row, or one for each row and head.
    prefix: Vec<u32>,
    path: Vec<u32>,
    path_slots: Vec<u32>,
}

impl Rows {
    fn push(&self, b: &mut Build, m: usize) -> impl Fn(&Views) -> RowMeta + use<> {
        let heads = self.prefix.len() / m;
        let most = self.path_slots.len() / m;
        let seq = b.push(Tensor::input("seq", &[m], &self.seq).per_row());
        let prefix = b.push(Tensor::input("prefix", &[m, heads], &self.prefix).per_row());
        let path = b.push(Tensor::input("path", &[m], &self.path).per_row());
        let slots = Tensor::input("path_slots", &[m, most], &self.path_slots).per_row();
        let slots = b.push(slots);
        move |v| RowMeta {
            seq: v.at(seq),
            prefix: v.at(prefix),
            path: v.at(path),
            path_slots: v.at(slots),
        }
    }
}

/// Rows with every kind of prefix: none, one, around a page's border, all pages full.
fn random_rows(random: &mut Random, shape: &Shape, slots: usize, seqs: usize) -> Rows {
    let Shape { m, g, page, pages, path, per_head, .. } = *shape;
    let full = page * pages;
    let borders = [full, 1, page, page + 1, page.saturating_sub(1), full - 1, 2 * page];
    let heads = if per_head { g } else { 1 };
    let mut rows =
        Rows { seq: Vec::new(), prefix: Vec::new(), path: Vec::new(), path_slots: Vec::new() };
    for row in 0..m {
        rows.seq.push(random.below(seqs) as u32);
        for _ in 0..heads {
            let any = random.below(full + 1);
            rows.prefix.push(borders.get(row).map_or(any, |&b| b.min(full)) as u32);
        }
        let nodes = random.below(path + 1);
        rows.path.push(nodes as u32);
        // slots beyond the path must not be looked at
        let slot = |i: usize| if i < nodes { random.below(slots) as u32 } else { u32::MAX };
        rows.path_slots.extend((0..path).map(slot));
    }
    if m > 4 {
        // padding: a row that sees nothing
        rows.prefix[4 * heads..5 * heads].fill(0);
        rows.path[4] = 0;
    }
    rows
}

/// A table that jumps about in `all` pages; entries that no row needs are invalid.
fn random_table(random: &mut Random, shape: &Shape, all: usize, rows: &Rows) -> Vec<u32> {
    let Shape { m, page, pages, .. } = *shape;
    let heads = rows.prefix.len() / m;
    let order = random.permutation(all);
    let mut table = order[..all - 1].to_vec();
    for (i, entry) in table.iter_mut().enumerate() {
        let (seq, head, index) = (i / (heads * pages), i / pages % heads, i % pages);
        let needs = |row: usize| {
            rows.seq[row] as usize == seq && rows.prefix[row * heads + head] as usize > index * page
        };
        if !(0..m).any(needs) {
            *entry = u32::MAX;
        }
    }
    table
}

fn case(shape: Shape) -> Case {
    Case::new("tree_attention", shape.name(), move |b| {
        let Shape { m, h, g, d, page, pages, per_head, gap, .. } = shape;
        let (seqs, heads) = (2, if per_head { g } else { 1 });
        let all = seqs * heads * pages + 1;
        let slots = all * page;
        let cache = Cache::random(&mut b.random, shape.format, [slots, g, d]);
        let rows = random_rows(&mut b.random, &shape, slots, seqs);
        let table = random_table(&mut b.random, &shape, all, &rows);
        let q = b.random.floats(m * h * d);
        let expect = b.expect(RULE, m * h * d, || naive(&shape, &q, &cache, &table, &rows));
        let table = b.push(Tensor::input("table", &[seqs, heads, pages], &table));
        let layer = cache.push(b, None);
        let meta = rows.push(b, m);
        let q = b.push(Tensor::input("q", &[m, h, d], &q).gap(gap).per_row());
        let out = b.push(Tensor::output("out", &[m, h, d], DType::F32, expect).gap(gap).per_row());
        b.op(move |v| op(&shape, v, [q, table, out], layer(v), meta(v)));
    })
}

/// Rows of one prompt: each is the last node of a path that holds the rows before it.
fn chunk(shape: Shape) -> Case {
    let Shape { format, m, h, g, d, page, path, window, .. } = shape;
    let name = format!("{}, chunk of {m}, h={h}, g={g}, d={d}, window={window}", format.name());
    one_prefix(name, shape, move |_, prefix, table| {
        let slot = |p: usize| table[p / page] * page as u32 + (p % page) as u32;
        let slots = |row: usize| (0..path).map(move |i| (i <= row).then_some(prefix + i));
        let slots = (0..m).flat_map(slots).map(|at| at.map_or(u32::MAX, slot)).collect();
        ((1..=m as u32).collect(), slots)
    })
}

/// Rows with paths of their own, in any slots.
fn apart(shape: Shape) -> Case {
    let Shape { format, m, h, g, d, page, pages, path, .. } = shape;
    let name = format!("{}, {m} paths of {path}, h={h}, g={g}, d={d}", format.name());
    one_prefix(name, shape, move |random, _, _| {
        let slot = |_| random.below(pages * page) as u32;
        (vec![path as u32; m], (0..m * path).map(slot).collect())
    })
}

/// Rows behind one prefix, with the lengths and the slots of their paths.
fn one_prefix(
    name: String,
    shape: Shape,
    paths: impl Fn(&mut Random, usize, &[u32]) -> (Vec<u32>, Vec<u32>) + Send + Sync + 'static,
) -> Case {
    let Shape { format, m, h, g, d, page, pages, path, .. } = shape;
    Case::new("tree_attention", name, move |b| {
        let prefix = pages * page - 1 - path;
        let cache = Cache::random(&mut b.random, format, [pages * page, g, d]);
        let table = b.random.permutation(pages);
        let (path, path_slots) = paths(&mut b.random, prefix, &table);
        let rows = Rows { seq: vec![0; m], prefix: vec![prefix as u32; m], path, path_slots };
        let q = b.random.floats(m * h * d);
        let expect = b.expect(RULE, m * h * d, || naive(&shape, &q, &cache, &table, &rows));
        let table = b.push(Tensor::input("table", &[1, 1, pages], &table));
        let layer = cache.push(b, None);
        let meta = rows.push(b, m);
        let q = b.push(Tensor::input("q", &[m, h, d], &q).per_row());
        let out = b.push(Tensor::output("out", &[m, h, d], DType::F32, expect).per_row());
        b.op(move |v| op(&shape, v, [q, table, out], layer(v), meta(v)));
    })
}

/// A node's path, in slots anywhere, must give the same bits as the same keys found through the table,
/// wherever the prefix ends: all of the path in the table, or all but the row itself.
fn tree_is_path(shape: Shape) -> Case {
    const ENDS: [usize; 18] =
        [0, 1, 14, 15, 16, 17, 30, 31, 32, 33, 62, 63, 64, 65, 126, 127, 128, 255];
    let Shape { format, h, g, d, page, pages, path, window, .. } = shape;
    let m = ENDS.len() * path;
    let shape = Shape { m, ..shape };
    let name = format!("{}, tree equals path, h={h}, g={g}, d={d}, window={window}", format.name());
    Case::new("tree_attention", name, move |b| {
        // the first half of the slots holds the sequence, the second copies of it in any order
        let context = pages * page;
        let dims = [2 * context, g, d];
        let mut cache = Cache::random(&mut b.random, format, dims);
        let table = b.random.permutation(pages);
        let slot = |p: usize| table[p / page] as usize * page + p % page;
        let copies = b.random.permutation(context);
        let copy = |p: usize| context + copies[p] as usize;
        let source = cache.clone();
        for p in 0..context {
            cache.copy_slot(copy(p), &source, slot(p));
        }
        let rows = |in_path: fn(usize) -> usize| {
            let mut rows = Rows {
                seq: vec![0; m],
                prefix: Vec::new(),
                path: Vec::new(),
                path_slots: Vec::new(),
            };
            for (end, depth) in ENDS.iter().flat_map(|&end| (1..=path).map(move |l| (end, l))) {
                let nodes = in_path(depth);
                let prefix = end + depth - nodes;
                rows.prefix.push(prefix as u32);
                rows.path.push(nodes as u32);
                let slot = |i| if i < nodes { copy(prefix + i) as u32 } else { u32::MAX };
                rows.path_slots.extend((0..path).map(slot));
            }
            rows
        };
        let tree = rows(|depth| depth);
        let q = b.random.floats(m * h * d);
        let expect = Expect::close(RULE, naive(&shape, &q, &cache, &table, &tree));
        let others = [rows(|_| 0), rows(|_| 1)];
        let table = b.push(Tensor::input("table", &[1, 1, pages], &table));
        let layer = cache.push(b, None);
        let meta = tree.push(b, m);
        let q = b.push(Tensor::input("q", &[m, h, d], &q).per_row());
        let out = b.push(Tensor::output("out", &[m, h, d], DType::F32, expect).per_row());
        let handles = [q, table, out];
        for other in others {
            let (layer, meta) = (layer.clone(), other.push(b, m));
            b.same(move |v| op(&shape, v, handles, layer(v), meta(v)));
        }
        b.op(move |v| op(&shape, v, handles, layer(v), meta(v)));
    })
}

fn op(
    shape: &Shape,
    views: &Views,
    [q, table, out]: [Handle; 3],
    cache: KvLayer,
    rows: RowMeta,
) -> TreeAttention {
    TreeAttention {
        q: views.at(q),
        cache,
        table: views.at(table),
        rows,
        out: views.at(out),
        scale: 1.0 / (shape.d as f32).sqrt(),
        page_slots: shape.page,
        window: shape.window,
        max_context: shape.max_context(),
    }
}

/// The formula over gathered keys, with magnitudes: an error of a score is an error of its weight
/// relative to it, and `exp` may be off by an error that grows with its argument.
fn naive(shape: &Shape, q: &[f32], cache: &Cache, table: &[u32], rows: &Rows) -> Vec<(f64, f64)> {
    let Shape { m, h, g, d, page, pages, path, window, per_head, .. } = *shape;
    let scale = f64::from(1.0 / (d as f32).sqrt());
    let mut wanted = Vec::with_capacity(m * h * d);
    for (row, head) in (0..m).flat_map(|row| (0..h).map(move |head| (row, head))) {
        let group = head * g / h;
        let (heads, table_head) = if per_head { (g, group) } else { (1, 0) };
        let prefix = rows.prefix[row * heads + table_head] as usize;
        let seen = prefix + rows.path[row] as usize;
        let first = if window == 0 { 0 } else { seen.max(window) - window };
        let entry = (rows.seq[row] as usize * heads + table_head) * pages;
        let slots: Vec<usize> = (first..seen)
            .map(|p| match p.checked_sub(prefix) {
                Some(node) => rows.path_slots[row * path + node] as usize,
                None => table[entry + p / page] as usize * page + p % page,
            })
            .collect();
        let at = |slot: usize, i: usize| (slot * g + group) * d + i;
        let mut scores = Vec::new();
        let mut largest = 0f64;
        for &slot in &slots {
            let terms = (0..d).map(|i| {
                scale * f64::from(q[(row * h + head) * d + i]) * cache.k.value(at(slot, i))
            });
            let terms: Vec<f64> = terms.collect();
            scores.push(terms.iter().sum::<f64>());
            largest = largest.max(terms.iter().map(|t| t.abs()).sum());
        }
        let total: f64 = scores.iter().map(|s| s.exp()).sum();
        for i in 0..d {
            let (mut sum, mut magnitude) = (0.0, 0.0);
            for (&slot, score) in slots.iter().zip(&scores) {
                let term = score.exp() / total * cache.v.value(at(slot, i));
                sum += term;
                magnitude += term.abs();
            }
            wanted.push((sum, magnitude * (1.0 + 2.0 * largest)));
        }
    }
    wanted
}
