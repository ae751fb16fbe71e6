//! Where the last lines of a file begin.

use std::io::SeekFrom;
use tokio::fs::File;
use tokio::io::{self, AsyncReadExt, AsyncSeekExt};

const BLOCK: u64 = 16 << 10;

/// The offset at which the last `lines` lines begin; 0 if there are no more.
///
/// # Errors
/// When the disk does.
pub async fn start(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.metadata().await?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut seen = 0;
    let mut at = end;
    let mut block = Vec::new();
    while at > 0 {
        let size = BLOCK.min(at);
        at -= size;
        file.seek(SeekFrom::Start(at)).await?;
        block.resize(usize::try_from(size).unwrap_or(0), 0);
        file.read_exact(&mut block).await?;
        for (i, byte) in block.iter().enumerate().rev() {
            let position = at + i as u64;
            // The newline that ends the file begins no line.
            if *byte == b'\n' && position + 1 < end {
                seen += 1;
                if seen == lines {
                    return Ok(position + 1);
                }
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::start;

    #[tokio::test]
    async fn counts_back() {
        let path = std::env::temp_dir().join(format!("corten-tail-{}", std::process::id()));
        std::fs::write(&path, "a\nbb\nccc\n").unwrap();
        let mut file = tokio::fs::File::open(&path).await.unwrap();
        for (lines, offset) in [(0, 9), (1, 5), (2, 2), (3, 0), (9, 0)] {
            assert_eq!(start(&mut file, lines).await.unwrap(), offset, "{lines}");
        }
        let long = "x".repeat(40_000) + "\ny\n";
        std::fs::write(&path, &long).unwrap();
        let mut file = tokio::fs::File::open(&path).await.unwrap();
        assert_eq!(start(&mut file, 1).await.unwrap(), 40_001);
        assert_eq!(start(&mut file, 2).await.unwrap(), 0);
        std::fs::remove_file(&path).unwrap();
    }
}
