//! Draft heads that come with the program, so that nobody has to know of them to have their speed.
//!
//! They are part of the binary: whoever installs it has them. How they were made is told by
//! `assets/heads/README.md`, and for which model by the files themselves.

use std::{path::Path, sync::Arc};

use super::Engine;
use crate::{
    error::Result,
    format::{
        ModelSource,
        heads::{Heads, describe_native, read_native},
    },
};

/// Names and bytes of the files.
const FILES: [(&str, &[u8]); 1] = [(
    "smollm2-135m-instruct.safetensors",
    include_bytes!("../../assets/heads/smollm2-135m-instruct.safetensors"),
)];

impl Engine {
    /// The heads that come with the program for this model, if there are any. A model is known by its
    /// norms, whatever its file is called and however it is quantised.
    ///
    /// # Errors
    /// A model that can no longer be read.
    pub fn shipped_heads(&self) -> Result<Option<Arc<Heads>>> {
        Ok(fitting(&FILES, &self.source)?.map(Arc::new))
    }
}

/// The first of the files that is for a model.
fn fitting(files: &[(&str, &[u8])], source: &ModelSource) -> Result<Option<Heads>> {
    for (name, bytes) in files {
        let path = Path::new(name);
        if describe_native(path, bytes)?.is_of(source)? {
            return Ok(Some(read_native(path, bytes)?));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_sound_and_says_whose_it_is() {
        for (name, bytes) in FILES {
            let path = Path::new(name);
            let said = describe_native(path, bytes).expect("metadata");
            // By these a model is known without reading all of it at each start.
            assert!(said.record.base_norms_sha256.is_some_and(|hash| hash.len() == 64), "{name}");
            assert!(said.record.base_sha256.is_some_and(|hash| hash.len() == 64), "{name}");
            let heads = read_native(path, bytes).expect("tensors");
            assert_eq!(heads.record.accuracy.len(), heads.heads.len(), "{name}");
            assert!(bytes.len() <= 16 << 20, "{name} makes the program too large");
        }
    }
}
