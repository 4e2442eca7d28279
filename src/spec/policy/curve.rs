//! What a step costs by its number of rows, measured on the device that runs it.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// What a measurement holds for. Anything that changes the time of a step belongs in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurveKey {
    /// Device, by its name.
    pub device: String,
    /// Driver and version, or the features of the processor in use.
    pub driver: String,
    /// Model with its formats of weights, activations and cache.
    pub model: String,
    /// Heads that draft, if any do.
    pub heads: Option<String>,
    /// Threads of a CPU device, 0 elsewhere.
    pub threads: usize,
    /// Program that measured: what another one measured is measured anew, and takes its place.
    pub program: String,
}

/// What a step of a number of rows costs that was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Between {
    /// As much as the next larger one that was: steps are padded to the measured sizes.
    Padded,
    /// In proportion between its neighbours.
    Linear,
}

/// Milliseconds of steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct VerifyCurve {
    parts: Parts,
}

/// The fields, before they are checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parts {
    schema: u32,
    key: CurveKey,
    plain_ms: f64,
    points: Vec<(usize, f64)>,
    between: Between,
    draft_ms: Vec<f64>,
}

/// Raised when the meaning of a field changes; files of other versions are measured again.
const SCHEMA: u32 = 2;

impl VerifyCurve {
    /// A curve: `plain_ms` of a plain step; `points`, (rows, milliseconds) of verification with the
    /// readback that acceptance needs; `draft_ms[d - 1]` of drafting to depth `d`, empty where
    /// drafting costs nothing. A larger step or deeper draft that was measured faster than a smaller
    /// one counts as equally fast, as only noise does that.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the value: no point, rows of 0 or not rising, a time that is not
    /// above 0 (drafting: not at least 0) or no finite number.
    pub fn new(
        key: CurveKey,
        plain_ms: f64,
        points: Vec<(usize, f64)>,
        between: Between,
        draft_ms: Vec<f64>,
    ) -> Result<Self> {
        Parts { schema: SCHEMA, key, plain_ms, points, between, draft_ms }.try_into()
    }

    /// What it holds for.
    pub fn key(&self) -> &CurveKey {
        &self.parts.key
    }

    /// A plain step.
    pub fn plain_ms(&self) -> f64 {
        self.parts.plain_ms
    }

    /// What was measured: (rows, milliseconds).
    pub fn points(&self) -> &[(usize, f64)] {
        &self.parts.points
    }

    /// Verification of a tree of `rows` nodes with the root. Beyond the largest measured size it
    /// grows as between the last two.
    pub fn verify_ms(&self, rows: usize) -> f64 {
        let points = &self.parts.points;
        let above = points.partition_point(|&(n, _)| n < rows);
        if above == 0 {
            return points[0].1;
        }
        if self.parts.between == Between::Padded && above < points.len() {
            return points[above].1;
        }
        let right = above.min(points.len() - 1);
        if right == 0 {
            return points[0].1 * rows as f64 / points[0].0 as f64;
        }
        let ((n0, t0), (n1, t1)) = (points[right - 1], points[right]);
        t0 + (t1 - t0) * (rows - n0) as f64 / (n1 - n0) as f64
    }

    /// Drafting to `depth`; the deepest measured one for more.
    pub fn draft_ms(&self, depth: usize) -> f64 {
        let all = &self.parts.draft_ms;
        match depth.min(all.len()) {
            0 => 0.0,
            depth => all[depth - 1],
        }
    }

    /// A round: drafting to `depth` and verification of `nodes`; a plain step for the root alone.
    pub fn round_ms(&self, nodes: usize, depth: usize) -> f64 {
        if nodes <= 1 { self.plain_ms() } else { self.draft_ms(depth) + self.verify_ms(nodes) }
    }
}

impl TryFrom<Parts> for VerifyCurve {
    type Error = Error;

    fn try_from(mut parts: Parts) -> Result<Self> {
        let wrong = |what: String| Err(Error::invalid(format!("verify curve: {what}")));
        if parts.schema != SCHEMA {
            return wrong(format!("schema {}, wanted {SCHEMA}", parts.schema));
        }
        if parts.points.is_empty() {
            return wrong("no point was measured".into());
        }
        let mut rows = 0;
        for &(n, ms) in &parts.points {
            if n <= rows {
                return wrong(format!("{n} rows after {rows}"));
            }
            if !(ms.is_finite() && ms > 0.0) {
                return wrong(format!("{n} rows took {ms} ms"));
            }
            rows = n;
        }
        if !(parts.plain_ms.is_finite() && parts.plain_ms > 0.0) {
            return wrong(format!("a plain step took {} ms", parts.plain_ms));
        }
        if let Some(ms) = parts.draft_ms.iter().find(|ms| !(ms.is_finite() && **ms >= 0.0)) {
            return wrong(format!("drafting took {ms} ms"));
        }
        let mut most = 0f64;
        for (_, ms) in &mut parts.points {
            most = most.max(*ms);
            *ms = most;
        }
        let mut most = 0f64;
        for ms in &mut parts.draft_ms {
            most = most.max(*ms);
            *ms = most;
        }
        Ok(Self { parts })
    }
}

impl From<VerifyCurve> for Parts {
    fn from(curve: VerifyCurve) -> Self {
        curve.parts
    }
}

/// Measured curves in a folder, one JSON file each.
#[derive(Clone, Debug)]
pub struct CurveStore {
    dir: PathBuf,
}

impl CurveStore {
    /// In this folder, which [`CurveStore::save`] makes where it does not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The file of a key; the same whichever program measures.
    pub fn path(&self, key: &CurveKey) -> PathBuf {
        let key = CurveKey { program: String::new(), ..key.clone() };
        let text = serde_json::to_vec(&key).expect("a key has only text and a number");
        let hash = Sha256::digest(text);
        let name: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("curve-{name}.json"))
    }

    /// What was measured for a key; none where nothing was, or where the file is of another version
    /// or no longer readable as one, so that it is to be measured again.
    ///
    /// # Errors
    /// A file that is there and cannot be read ([`Error::Io`]).
    pub fn load(&self, key: &CurveKey) -> Result<Option<VerifyCurve>> {
        let path = self.path(key);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { action: "cannot read", path, source }),
        };
        let curve: Option<VerifyCurve> = serde_json::from_slice(&text).ok();
        Ok(curve.filter(|curve| curve.key() == key))
    }

    /// Keeps a curve in place of an older one of the same key.
    ///
    /// # Errors
    /// A folder or file that cannot be written ([`Error::Io`]).
    pub fn save(&self, curve: &VerifyCurve) -> Result<PathBuf> {
        let path = self.path(curve.key());
        let fail = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action, path, source }
        };
        std::fs::create_dir_all(&self.dir).map_err(fail("cannot create", &self.dir))?;
        let text = serde_json::to_vec_pretty(curve).expect("a curve has finite numbers");
        // Under another name first: a reader never sees half a file, nor two writers' halves.
        let part = path.with_extension(format!("json.{}", std::process::id()));
        std::fs::write(&part, text).map_err(fail("cannot write", &part))?;
        std::fs::rename(&part, &path).map_err(fail("cannot write", &path))?;
        Ok(path)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn key() -> CurveKey {
        CurveKey {
            device: "cpu".into(),
            driver: "avx512".into(),
            model: "tiny q4_1".into(),
            heads: None,
            threads: 2,
            program: "1.0".into(),
        }
    }

    fn curve(between: Between) -> VerifyCurve {
        let points = vec![(1, 10.0), (2, 9.0), (4, 14.0), (8, 22.0)];
        VerifyCurve::new(key(), 9.5, points, between, vec![1.0, 1.5]).expect("valid")
    }

    #[test]
    fn times_between_points_are_padded_or_in_proportion() {
        let padded = curve(Between::Padded);
        assert_eq!([1, 2, 3, 4, 5, 8].map(|n| padded.verify_ms(n)), [10., 10., 14., 14., 22., 22.]);
        assert_eq!(padded.verify_ms(12), 30.0, "beyond the last point by its slope");
        let linear = curve(Between::Linear);
        assert_eq!([0, 1, 3, 6, 10].map(|n| linear.verify_ms(n)), [10., 10., 12., 18., 26.]);
        assert_eq!([0, 1, 2, 9].map(|d| linear.draft_ms(d)), [0.0, 1.0, 1.5, 1.5]);
        assert_eq!((linear.round_ms(1, 0), linear.round_ms(4, 2)), (9.5, 15.5));
        let one = VerifyCurve::new(key(), 1.0, vec![(2, 3.0)], Between::Linear, vec![]);
        assert_eq!(one.expect("valid").verify_ms(4), 6.0);
    }

    #[test]
    fn values_that_are_no_times_are_named() {
        let says = |plain, points: &[(usize, f64)], draft: &[f64]| {
            VerifyCurve::new(key(), plain, points.to_vec(), Between::Linear, draft.to_vec())
                .expect_err("invalid")
                .to_string()
        };
        assert!(says(1.0, &[], &[]).contains("no point"));
        assert!(says(1.0, &[(2, 1.0), (2, 1.0)], &[]).contains("2 rows after 2"));
        assert!(says(1.0, &[(2, f64::NAN)], &[]).contains("2 rows took NaN ms"));
        assert!(says(0.0, &[(1, 1.0)], &[]).contains("a plain step took 0 ms"));
        assert!(says(1.0, &[(1, 1.0)], &[-1.0]).contains("drafting took -1 ms"));
    }

    #[test]
    fn curves_are_kept_by_their_key() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = CurveStore::new(dir.path().join("new"));
        let curve = curve(Between::Padded);
        assert_eq!(store.load(&key()).expect("nothing there"), None);
        let path = store.save(&curve).expect("writable");
        assert_eq!(store.load(&key()).expect("readable"), Some(curve.clone()));
        let other = CurveKey { threads: 3, ..key() };
        assert_eq!(store.load(&other).expect("nothing there"), None);
        let text = std::fs::read_to_string(&path).expect("readable");
        for broken in [&text[..40], &text.replace("\"schema\": 2", "\"schema\": 1"), "null"] {
            std::fs::write(&path, broken).expect("writable");
            assert_eq!(store.load(&key()).expect("readable"), None, "{broken}");
        }
        store.save(&curve).expect("writable");
        assert_eq!(store.load(&key()).expect("readable"), Some(curve.clone()));
        let newer = CurveKey { program: "1.1".into(), ..key() };
        assert_eq!(store.load(&newer).expect("readable"), None, "an older program's");
        let again = VerifyCurve::new(newer.clone(), 9.0, vec![(1, 9.0)], Between::Padded, vec![]);
        let again = again.expect("valid");
        store.save(&again).expect("writable");
        assert_eq!(store.load(&newer).expect("readable"), Some(again));
        assert_eq!(store.load(&key()).expect("readable"), None, "its place is taken");
        assert_eq!(std::fs::read_dir(dir.path().join("new")).expect("a folder").count(), 1);
    }
}
