//! The staged bytes of a small chunk: they stand in the journal's record itself and are sent from memory, so that staging it
//! takes one sync and no file.

use std::fmt;
use std::io;

use bytes::Bytes;
use hydrant_disk::DiskFile;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Staged bytes in memory, which are read as a file is. In the journal they are base64.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Inline(pub(crate) Bytes);

impl Inline {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inline({} bytes)", self.0.len())
    }
}

impl Serialize for Inline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Inline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Inline, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64_simd::STANDARD.decode_to_vec(text).map_err(serde::de::Error::custom)?;
        Ok(Inline(bytes.into()))
    }
}

impl DiskFile for Inline {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let taken = buf.len().min(self.0.len() - from);
        buf[..taken].copy_from_slice(&self.0[from..from + taken]);
        Ok(taken)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<()> {
        read_only()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn fill_zero(&self, _offset: u64, _len: u64) -> io::Result<()> {
        read_only()
    }

    /// They are durable since the journal's record is.
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn push_out(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

/// What is staged is never written again.
fn read_only() -> io::Result<()> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

#[cfg(test)]
mod tests {
    use hydrant_disk::read_exact_at;

    use super::*;

    #[test]
    fn it_is_read_as_a_file_is_and_comes_back_from_the_journal() {
        let inline = Inline(Bytes::from_static(b"staged bytes \xff"));
        let text = serde_json::to_string(&inline).unwrap();
        assert_eq!(serde_json::from_str::<Inline>(&text).unwrap(), inline);
        let mut found = [0; 5];
        read_exact_at(&inline, &mut found, 7).unwrap();
        assert_eq!(&found, b"bytes");
        assert_eq!(read_exact_at(&inline, &mut found, 10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(inline.read_at(&mut found, u64::MAX).unwrap(), 0);
    }
}
