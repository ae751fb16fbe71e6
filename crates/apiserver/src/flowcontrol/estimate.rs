//! How many seats a request takes. Rules: upstream's list work estimator by object size.

use crate::call::Call;

/// Memory that one seat stands for.
const BYTES_PER_SEAT: usize = 100_000;
/// Lists are streamed: they never hold more than this at once.
const STREAMING_BYTES: usize = 1_000_000;
/// No list takes more seats than this.
const MAX_LIST_SEATS: u32 = 100;

/// Seats of a request on a level where one may take `most` (0: any number).
pub fn seats(call: &Call, most: u32) -> u32 {
    let info = &call.info;
    let list = info.is_resource && info.subresource.is_empty() && matches!(&*info.verb, "list" | "watch");
    if !list {
        return 1;
    }
    if info.verb == "watch" {
        let initial = call.query.flag("sendInitialEvents").unwrap_or(false);
        if !initial && !matches!(call.query.text("resourceVersion"), "" | "0") {
            return 1;
        }
    }
    let served = call
        .server
        .catalog
        .lookup(&info.group, &info.version, &info.resource);
    let Some(stored) = served.as_ref().and_then(|s| s.stored.as_ref()) else {
        return 1;
    };
    let (count, average) = stored.size();
    let limit = call.query.get("limit").and_then(|l| l.parse::<usize>().ok());
    let loaded = match limit {
        _ if !info.name.is_empty() => 1,
        Some(limit) if limit > 0 => count.min(limit),
        _ => count,
    };
    of_bytes(loaded.saturating_mul(average), most)
}

fn of_bytes(bytes: usize, most: u32) -> u32 {
    let most = if most == 0 {
        MAX_LIST_SEATS
    } else {
        most.min(MAX_LIST_SEATS)
    };
    let seats = bytes.min(STREAMING_BYTES).div_ceil(BYTES_PER_SEAT);
    u32::try_from(seats).unwrap_or(most).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_take_seats_by_their_size() {
        assert_eq!(of_bytes(0, 10), 1);
        assert_eq!(of_bytes(250_000, 10), 3);
        assert_eq!(of_bytes(250_000, 2), 2);
        assert_eq!(of_bytes(usize::MAX, 0), 10);
    }
}
