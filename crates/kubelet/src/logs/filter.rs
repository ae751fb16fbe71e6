//! One CRI log line after the other (`TIME STREAM TAG TEXT`) to what the client is to see: pure.

use super::Options;
use jiff::Timestamp;

/// Which streams are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Streams {
    #[default]
    All,
    Stdout,
    Stderr,
}

/// Keeps what must be remembered from line to line.
pub struct Filter {
    timestamps: bool,
    since: Option<Timestamp>,
    streams: Streams,
    left: Option<u64>,
    /// The last line was whole: the next begins anew.
    fresh: bool,
}

impl Filter {
    pub fn new(options: &Options) -> Self {
        Self {
            timestamps: options.timestamps,
            since: options.since,
            streams: options.streams,
            left: options.limit_bytes,
            fresh: true,
        }
    }

    /// Whether the client has got all it asked for.
    pub fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Adds what `line` (without its newline) has to say to `out`. Lines that are not CRI's are left out.
    pub fn push(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut parts = line.splitn(4, |b| *b == b' ');
        let (Some(time), Some(stream), Some(tag)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        let text = parts.next().unwrap_or_default();
        let wanted = match self.streams {
            Streams::All => stream == b"stdout" || stream == b"stderr",
            Streams::Stdout => stream == b"stdout",
            Streams::Stderr => stream == b"stderr",
        };
        if !wanted {
            return;
        }
        let partial = tag.split(|b| *b == b':').next() == Some(b"P");
        if let Some(since) = self.since {
            let at = std::str::from_utf8(time)
                .ok()
                .and_then(|t| t.parse::<Timestamp>().ok());
            if at.is_none_or(|at| at < since) {
                return;
            }
        }
        let start = out.len();
        if self.timestamps && self.fresh {
            out.extend_from_slice(time);
            out.push(b' ');
        }
        out.extend_from_slice(text);
        if !partial {
            out.push(b'\n');
        }
        self.fresh = !partial;
        if let Some(left) = &mut self.left {
            let added = (out.len() - start) as u64;
            out.truncate(start + usize::try_from(added.min(*left)).unwrap_or(usize::MAX));
            *left = left.saturating_sub(added);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No more comes out than was asked for and than there was.
    #[test]
    fn spoiled_logs_are_read() {
        let corpus = [
            LOG.join("\n").into_bytes(),
            b"2026-01-01T00:00:01Z stdout P:x ".to_vec(),
        ];
        let full = Options {
            timestamps: true,
            since: "2026-01-01T00:00:02Z".parse().ok(),
            limit_bytes: Some(20),
            ..Options::default()
        };
        corten_fuzz::spoil("CRI log", &corpus, |input| {
            for options in [&full, &Options::default()] {
                let (mut filter, mut out) = (Filter::new(options), Vec::new());
                for line in input.split(|byte| *byte == b'\n') {
                    filter.push(line, &mut out);
                }
                let limit = options.limit_bytes.unwrap_or(u64::MAX);
                assert!(out.len() as u64 <= limit && out.len() <= input.len() + 1);
            }
        });
    }

    const LOG: [&str; 4] = [
        "2026-01-01T00:00:01Z stdout F one",
        "2026-01-01T00:00:02Z stderr P t",
        "2026-01-01T00:00:03Z stderr F wo",
        "garbage",
    ];

    fn run(options: &Options) -> String {
        let mut filter = Filter::new(options);
        let mut out = Vec::new();
        for line in LOG {
            filter.push(line.as_bytes(), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_joined_filtered_and_cut() {
        assert_eq!(run(&Options::default()), "one\ntwo\n");
        let timestamps = Options {
            timestamps: true,
            ..Options::default()
        };
        assert_eq!(
            run(&timestamps),
            "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n"
        );
        let stderr = Options {
            streams: Streams::Stderr,
            limit_bytes: Some(2),
            ..Options::default()
        };
        assert_eq!(run(&stderr), "tw");
        let since = Options {
            since: "2026-01-01T00:00:02Z".parse().ok(),
            ..Options::default()
        };
        assert_eq!(run(&since), "two\n");
    }
}
