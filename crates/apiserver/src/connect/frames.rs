//! Where WebSocket frames end in a byte stream (RFC 6455, section 5.2).
//!
//! Clients that wait on the socket beneath TLS miss a frame that came in the same record as the one before: the record has
//! been read, and the socket stays silent. The Python client's `WSClient` is one. Upstream sends each frame in a record of
//! its own, so a tunnel must not join them.

const HEADER_BYTES: usize = 14;

/// The place in a stream of frames.
#[derive(Clone, Default)]
pub(super) struct Frames {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that have come.
    have: usize,
    /// Bytes of the payload that are to come; none while the header is incomplete.
    left: u64,
}

impl Frames {
    /// Goes on to the end of the current frame, or to that of `bytes`; says how many were taken.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while self.left == 0 {
            let Some(byte) = bytes.get(taken) else {
                return taken;
            };
            self.header[self.have] = *byte;
            self.have += 1;
            taken += 1;
            if let Some(payload) = payload(&self.header[..self.have]) {
                self.have = 0;
                self.left = payload;
                if payload == 0 {
                    return taken;
                }
            }
        }
        let payload = (bytes.len() - taken).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= payload as u64;
        taken + payload
    }
}

/// Bytes that follow a header; `None` while it is incomplete.
fn payload(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let length = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(header.get(2..4)?.try_into().ok()?)),
        127 => u64::from_be_bytes(header.get(2..10)?.try_into().ok()?),
        short => u64::from(short),
    };
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    (header.len() == 2 + extended + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::Frames;

    fn frame(payload: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut out = vec![0x82];
        match payload {
            0..126 => out.push(mask | payload as u8),
            126..65_536 => {
                out.push(mask | 126);
                out.extend((payload as u16).to_be_bytes());
            }
            _ => {
                out.push(mask | 127);
                out.extend((payload as u64).to_be_bytes());
            }
        }
        out.resize(out.len() + usize::from(masked) * 4 + payload, 7);
        out
    }

    #[test]
    fn frames_end_where_they_end_however_they_come() {
        let sizes = [0, 1, 125, 126, 65_535, 65_536, 0, 3];
        for masked in [false, true] {
            let frames: Vec<_> = sizes.iter().map(|size| frame(*size, masked)).collect();
            let all = frames.concat();
            for piece in [1, 2, 3, 7, 1000, all.len()] {
                let (mut state, mut ends, mut at) = (Frames::default(), vec![], 0);
                for bytes in all.chunks(piece) {
                    let mut rest = bytes;
                    while !rest.is_empty() {
                        let taken = state.take(rest);
                        rest = &rest[taken..];
                        at += taken;
                        if state.have == 0 && state.left == 0 {
                            ends.push(at);
                        }
                    }
                }
                let wanted: Vec<_> = frames
                    .iter()
                    .scan(0, |end, frame| {
                        *end += frame.len();
                        Some(*end)
                    })
                    .collect();
                assert_eq!(ends, wanted, "pieces of {piece}");
            }
        }
    }
}
