//! A read-only memory map of a file. The only unsafe code outside device bindings lives here.

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use memmap2::Mmap;

use super::FormatError;

/// A file mapped into memory, read-only.
#[derive(Debug)]
pub struct Map {
    path: PathBuf,
    map: Mmap,
}

impl Map {
    /// Maps a regular file. Folders, pipes and files of zero bytes are refused.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FormatError> {
        let path = path.into();
        let io_error =
            |source: io::Error| FormatError::Io { action: "open", path: path.clone(), source };
        // Looked at before opening: opening a pipe would wait for its writer.
        let meta = std::fs::metadata(&path).map_err(io_error)?;
        if !meta.is_file() {
            return Err(io_error(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            )));
        }
        if meta.len() == 0 {
            return Err(FormatError::File {
                file: path,
                message: "the file is empty".to_owned(),
                hint: Some("a download may have been cut off; fetch it again".to_owned()),
            });
        }
        let file = File::open(&path).map_err(io_error)?;
        // SAFETY: the map is read-only and only ever seen as bytes (or plain numbers), for which any
        // content is valid. As with every runtime that maps its models, the file must not be
        // shortened by another process while the program runs; downloads are therefore written
        // beside their target and renamed.
        let map = unsafe { Mmap::map(&file) }.map_err(io_error)?;
        Ok(Self { path, map })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Elements of type `T` at a byte range; `None` if the range is not within the file, is not a
    /// whole number of elements or does not start at an address aligned for `T`.
    pub fn typed<T: bytemuck::AnyBitPattern>(&self, range: Range<usize>) -> Option<&[T]> {
        bytemuck::try_cast_slice(self.map.get(range)?).ok()
    }

    /// Tells the system that a byte range will not be needed soon, so that its pages stop counting
    /// as memory of this process. Reading it again is correct and merely slower. Only whole pages
    /// inside the range are given up, and only where the system can (Unix).
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            let start = range.start.next_multiple_of(PAGE);
            let end = range.end.min(self.map.len()) / PAGE * PAGE;
            if start < end {
                // SAFETY: `DontNeed` on a shared, read-only file mapping only drops resident pages;
                // the next access reads the same bytes from the file again. The range was clamped
                // to the mapping.
                let advised = unsafe {
                    self.map.unchecked_advise_range(
                        memmap2::UncheckedAdvice::DontNeed,
                        start,
                        end - start,
                    )
                };
                if let Err(error) = advised {
                    tracing::debug!(path = %self.path.display(), %error, "pages were not released");
                }
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// Largest page size in common use (Apple silicon, some Arm Linux); a multiple of the smaller ones.
#[cfg(unix)]
const PAGE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn map_of(bytes: &[u8]) -> (tempfile::TempDir, Map) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).expect("writable");
        let map = Map::open(path).expect("a regular file maps");
        (dir, map)
    }

    #[test]
    fn typed_slices_are_checked() {
        let bytes: Vec<u8> = [1.0f32, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let (_dir, map) = map_of(&bytes);
        assert_eq!(map.typed::<f32>(4..12), Some(&[2.0, 3.0][..]));
        assert_eq!(map.typed::<f32>(2..6), None, "misaligned");
        assert_eq!(map.typed::<f32>(0..6), None, "not a whole number of elements");
        assert_eq!(map.typed::<f32>(8..16), None, "past the end");
    }

    #[test]
    fn released_ranges_read_the_same_bytes() {
        let bytes: Vec<u8> = (0..400_000u32).map(|i| (i % 251) as u8).collect();
        let (_dir, map) = map_of(&bytes);
        for range in [0..400_000, 10..70_000, 0..usize::MAX, 399_999..400_000, 5..5] {
            map.release(range);
            assert_eq!(map.bytes(), bytes);
        }
    }

    #[test]
    fn folders_and_empty_files_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(Map::open(dir.path()), Err(FormatError::Io { .. })));
        assert!(matches!(Map::open(dir.path().join("none")), Err(FormatError::Io { .. })));
        let empty = dir.path().join("empty");
        std::fs::write(&empty, []).expect("writable");
        let error = Map::open(empty).expect_err("nothing to map").to_string();
        assert!(error.contains("empty"), "{error}");
    }
}
