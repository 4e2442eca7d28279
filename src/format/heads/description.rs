//! What our own head files say about themselves, and of which model they are.

use std::{collections::HashMap, path::Path};

use safetensors::SafeTensors;

use super::{HeadKind, HeadRecord};
use crate::format::{FormatError, ModelSource};

/// Version of the layout.
pub(super) const VERSION: &str = "1";

/// Whether a file's metadata says that [`save_native`](super::save_native) wrote it.
pub fn is_native(metadata: Option<&HashMap<String, String>>) -> bool {
    metadata.is_some_and(|all| all.contains_key("coppice_heads"))
}

/// What a file says about itself, without its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// How heads depend on each other.
    pub kind: HeadKind,
    /// Width D of the target's hidden state.
    pub width: usize,
    /// Vocabulary V of the target.
    pub vocab: usize,
    /// Factor on embeddings that sequential heads see.
    pub embed_scale: f32,
    /// Where it comes from.
    pub record: HeadRecord,
}

impl Description {
    /// Whether the heads were made for a model: it has their width and vocabulary, and the norms or,
    /// where those were not noted, the file they were trained on.
    ///
    /// # Errors
    /// A model whose norms cannot be read.
    pub fn is_of(&self, model: &ModelSource) -> Result<bool, FormatError> {
        let config = model.config()?;
        if (self.width, self.vocab) != (config.d_model, config.vocab) {
            return Ok(false);
        }
        Ok(match (&self.record.base_norms_sha256, &self.record.base_sha256) {
            (Some(norms), _) => *norms == model.norms_sha256()?,
            (None, Some(file)) => *file == model.sha256(),
            (None, None) => false,
        })
    }
}

/// Reads what a file that [`save_native`](super::save_native) wrote says about itself; `path` is its name in errors.
///
/// # Errors
/// A file that is damaged, of another layout or version.
pub fn describe_native(path: &Path, bytes: &[u8]) -> Result<Description, FormatError> {
    let fault = |message: String| damaged(path, message);
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|e| fault(format!("not a sound safetensors file: {e}")))?;
    let metadata = header.metadata().as_ref();
    if !is_native(metadata) {
        return Err(fault("its metadata has no `coppice_heads`".into()));
    }
    let field = |key: &str| {
        let missing = || FormatError::MissingKey { file: path.to_owned(), key: key.into() };
        metadata.and_then(|all| all.get(key)).map(String::as_str).ok_or_else(missing)
    };
    let key = |key: &str, message: String| FormatError::Key {
        file: path.to_owned(),
        key: key.into(),
        message,
    };
    let version = field("coppice_heads")?;
    if version != VERSION {
        return Err(key("coppice_heads", format!("version {version}, wanted {VERSION}")));
    }
    let size = |name: &str| -> Result<usize, FormatError> {
        let text = field(name)?;
        let size = text.parse().ok().filter(|size| (1..1 << 24).contains(size));
        size.ok_or_else(|| key(name, format!("`{text}` is no size")))
    };
    let kind: HeadKind =
        serde_json::from_value(field("kind")?.into()).map_err(|e| key("kind", e.to_string()))?;
    let embed_scale = field("embed_scale")?.parse().ok().filter(|x: &f32| x.is_finite());
    let embed_scale =
        embed_scale.ok_or_else(|| key("embed_scale", "is no finite number".into()))?;
    let record: HeadRecord =
        serde_json::from_str(field("record")?).map_err(|e| key("record", e.to_string()))?;
    let (width, vocab) = (size("width")?, size("vocab")?);
    Ok(Description { kind, width, vocab, embed_scale, record })
}

/// An error about the file as a whole.
pub(super) fn damaged(path: &Path, message: String) -> FormatError {
    FormatError::File {
        file: path.to_owned(),
        message,
        hint: Some("the file may be damaged or cut off".into()),
    }
}
