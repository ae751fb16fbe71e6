//! Header blocks: names and values, compressed by one zlib stream per direction for the life of the connection.

use std::io;

use bytes::{Buf as _, BufMut as _};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::HEADER_DICTIONARY;

/// Largest header block, decompressed.
const BLOCK_BYTES: usize = 64 * 1024;
/// Most headers in a block.
const HEADERS: u32 = 256;

/// Names (lower case) with values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderBlock(pub(crate) Vec<(String, String)>);

impl HeaderBlock {
    /// The value of `name`, of several the first.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.split('\0').next().unwrap_or_default())
    }

    fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(128);
        put_length(&mut block, self.0.len());
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            put_length(&mut block, text.len());
            block.put_slice(text.as_bytes());
        }
        block
    }

    fn decode(mut block: &[u8]) -> io::Result<Self> {
        let count = take_length(&mut block)?;
        if count > HEADERS {
            return Err(malformed("too many headers"));
        }
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = take_text(&mut block)?;
            headers.push((name, take_text(&mut block)?));
        }
        Ok(Self(headers))
    }
}

fn put_length(block: &mut Vec<u8>, length: usize) {
    block.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

fn take_length(block: &mut &[u8]) -> io::Result<u32> {
    block
        .try_get_u32()
        .map_err(|_| malformed("header block ends early"))
}

fn take_text(block: &mut &[u8]) -> io::Result<String> {
    let length = take_length(block)? as usize;
    if length > block.len() {
        return Err(malformed("header block ends early"));
    }
    let (text, rest) = block.split_at(length);
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| malformed("header is not UTF-8"))
}

pub(super) fn malformed(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("SPDY: {reason}"))
}

pub(super) struct Compressor(Compress);

impl Compressor {
    pub(super) fn new() -> io::Result<Self> {
        let mut compress = Compress::new(Compression::fast(), true);
        compress
            .set_dictionary(HEADER_DICTIONARY)
            .map_err(io::Error::other)?;
        Ok(Self(compress))
    }

    pub(super) fn compress(&mut self, headers: &HeaderBlock) -> io::Result<Vec<u8>> {
        let block = headers.encode();
        let mut out = Vec::with_capacity(block.len() + 64);
        let start = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - start).unwrap_or(usize::MAX);
            let rest = block.get(done..).unwrap_or_default();
            out.reserve(256);
            self.0
                .compress_vec(rest, &mut out, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            // Spare room left means that the flush is complete.
            if rest.is_empty() || out.len() < out.capacity() {
                return Ok(out);
            }
        }
    }
}

pub(super) struct Decompressor(Decompress);

impl Decompressor {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn decompress(&mut self, mut input: &[u8]) -> io::Result<HeaderBlock> {
        let mut out = Vec::with_capacity(1024);
        loop {
            let before = (self.0.total_in(), out.len());
            let result = self.0.decompress_vec(input, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.0.total_in() - before.0).unwrap_or(usize::MAX);
            input = input.get(used..).unwrap_or_default();
            match result {
                Ok(Status::StreamEnd) => return Err(malformed("header compression ended")),
                Ok(_) if input.is_empty() && out.len() < out.capacity() => return HeaderBlock::decode(&out),
                Ok(_) if used == 0 && out.len() == before.1 && out.len() < out.capacity() => {
                    return Err(malformed("header compression is stuck"));
                }
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(HEADER_DICTIONARY)
                        .map_err(io::Error::other)?;
                }
                Err(error) => return Err(malformed(&error.to_string())),
            }
            if out.len() > BLOCK_BYTES {
                return Err(malformed("header block is too large"));
            }
            out.reserve(1024);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn blocks_survive_one_compression_stream_each_way() {
        let (mut compressor, mut decompressor) = (Compressor::new().unwrap(), Decompressor::new());
        for index in 0..20 {
            let headers = HeaderBlock(vec![
                ("streamtype".into(), "stdin".into()),
                ("requestid".into(), index.to_string()),
                ("long".into(), "x".repeat(index * 700)),
            ]);
            let compressed = compressor.compress(&headers).unwrap();
            assert_eq!(decompressor.decompress(&compressed).unwrap(), headers);
        }
    }

    #[test]
    fn a_bomb_and_garbage_are_refused() {
        let mut compressor = Compressor::new().unwrap();
        let bomb = HeaderBlock(vec![("a".into(), "x".repeat(BLOCK_BYTES * 2))]);
        let compressed = compressor.compress(&bomb).unwrap();
        assert!(Decompressor::new().decompress(&compressed).is_err());
        assert!(Decompressor::new().decompress(b"garbage").is_err());
        assert!(HeaderBlock::decode(&[0, 0, 0, 1, 0, 0, 0, 9, b'x']).is_err());
    }
}
