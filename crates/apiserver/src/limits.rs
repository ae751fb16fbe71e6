//! Every bound of the HTTP front, by name. What happens at each is said where it is used.

use std::time::Duration;

/// Longest request body; over it 413. Upstream's `MaxRequestBodyBytes`.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// Seconds a rejected client is told to wait.
pub const RETRY_AFTER_SECONDS: u32 = 1;
/// A write gives up after this. Upstream's `requestTimeoutUpperBound`.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(34);
/// TLS handshakes slower than this are dropped.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client must have sent its request head after this.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(32);
/// Longest request head, Go's `DefaultMaxHeaderBytes`; over it 431. Selectors stand in it.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// Connections at once over all listeners; more wait in the kernel's accept queue.
pub const MAX_CONNECTIONS: usize = 20_000;
/// Streams at once on one HTTP/2 connection (upstream's default).
pub const MAX_H2_STREAMS: u32 = 250;
/// Responses longer than this are compressed where the client accepts gzip.
pub const GZIP_THRESHOLD_BYTES: usize = 128 * 1024;
/// How often a patch is tried again after a concurrent write. Upstream's `MaxRetryWhenPatchConflicts`.
pub const MAX_PATCH_RETRIES: usize = 5;
/// Events of one watch joined into one write when they are ready together.
pub const WATCH_COALESCE_FRAMES: usize = 64;
/// A connection to a kubelet or proxied backend must stand after this.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// What is still taken in, and thrown away, of a request's body that was answered without it.
pub const UNREAD_BYTES: usize = 4 * 1024 * 1024;
/// For how long.
pub const UNREAD_TIME: Duration = Duration::from_secs(1);
/// How long shutdown waits for requests under way.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What is encrypted before it is written: four records that fill one segment of the loopback interface. With 64 KiB of
/// text each write left some bytes over, a segment of their own.
pub const TLS_WRITE_BYTES: usize = LOOPBACK_SEGMENT - 4 * TLS_RECORD_OVERHEAD;
/// An MTU of 64 KiB without the headers of IPv4 and TCP, timestamps among them; a byte less, as Linux has it.
const LOOPBACK_SEGMENT: usize = 65_483;
/// Header, content type and tag of TLS 1.3.
const TLS_RECORD_OVERHEAD: usize = 22;

/// Those bounds that are chosen at a start, by upstream's flags and with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// `--max-requests-inflight`: with the next, the seats that priority and fairness shares out.
    pub reads_in_flight: u32,
    /// `--max-mutating-requests-inflight`
    pub writes_in_flight: u32,
    /// `--request-timeout`: a request that is not long-running gives up after this.
    pub request_timeout: Duration,
    /// `--min-request-timeout`: a watch without `timeoutSeconds` ends after one to two times this.
    pub min_request_timeout: Duration,
}

impl Default for Chosen {
    fn default() -> Self {
        Self {
            reads_in_flight: 400,
            writes_in_flight: 200,
            request_timeout: Duration::from_secs(60),
            min_request_timeout: Duration::from_secs(1800),
        }
    }
}
