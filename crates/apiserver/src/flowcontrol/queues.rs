//! The queues of a level: shuffle sharding spreads flows over them, virtual time serves them fairly. Pure.
//!
//! Each queue has a virtual time at which its next request may start; serving one moves it on by the seats that it takes. The
//! queue that is furthest behind goes first, so that a flow with many requests does not hold up one with few.

use std::collections::VecDeque;

use serde_json::Value;

/// `limitResponse.queuing`.
#[derive(Debug, Clone, Copy)]
pub struct Queuing {
    /// How many queues there are.
    pub queues: u32,
    /// Requests in one queue; more are turned away.
    pub length: u32,
    /// Queues that one flow's requests are spread over.
    pub hand: u32,
}

impl Queuing {
    /// Reads an object, with upstream's defaults.
    pub fn read(value: &Value) -> Self {
        let number = |key: &str, default: u32| {
            let read = value[key].as_u64().and_then(|n| u32::try_from(n).ok());
            read.unwrap_or(default).max(1)
        };
        let queues = number("queues", 64);
        Self {
            queues,
            length: number("queueLengthLimit", 50),
            hand: number("handSize", 8).min(queues),
        }
    }
}

struct Waiting<T> {
    ticket: u64,
    seats: u32,
    value: T,
}

struct Queue<T> {
    requests: VecDeque<Waiting<T>>,
    seats: u32,
    /// Virtual time, in seats served per active queue.
    next_start: u64,
}

/// A request whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Dispatched<T> {
    /// The index of the queue it was in.
    pub queue: usize,
    /// What was put in.
    pub value: T,
}

/// A queue as it is now.
pub struct Look<'a, T> {
    /// Virtual time at which its next request may start, in seats.
    pub next_start: u64,
    /// What waits in it, in order.
    pub waiting: Vec<&'a T>,
}

/// See the module. `T` is what tells a request that its turn has come.
pub struct QueueSet<T> {
    queues: Vec<Queue<T>>,
    /// Virtual start of the request last served: where a queue that was empty begins.
    now: u64,
    tickets: u64,
    /// Breaks ties, so that the first queue is not always first.
    last: usize,
}

impl<T> QueueSet<T> {
    /// That many queues, all empty.
    pub fn new(queues: u32) -> Self {
        let empty = |_| Queue {
            requests: VecDeque::new(),
            seats: 0,
            next_start: 0,
        };
        Self {
            queues: (0..queues).map(empty).collect(),
            now: 0,
            tickets: 0,
            last: 0,
        }
    }

    /// Seats that all who wait want.
    pub fn seats_waiting(&self) -> u32 {
        self.queues.iter().map(|q| q.seats).sum()
    }

    /// Every queue, by its index.
    pub fn look(&self) -> impl Iterator<Item = Look<'_, T>> {
        self.queues.iter().map(|queue| Look {
            next_start: queue.next_start,
            waiting: queue.requests.iter().map(|request| &request.value).collect(),
        })
    }

    /// Puts a request into the shortest queue of its flow's hand; `None` where that is full.
    pub fn enqueue(&mut self, rules: &Queuing, flow: u64, seats: u32, value: T) -> Option<u64> {
        let hand = deal(flow, rules.queues, rules.hand);
        let at = hand
            .into_iter()
            .min_by_key(|at| self.queues.get(*at).map(|q| q.seats))?;
        let queue = self.queues.get_mut(at)?;
        if queue.requests.len() >= rules.length as usize {
            return None;
        }
        if queue.requests.is_empty() {
            queue.next_start = queue.next_start.max(self.now);
        }
        self.tickets += 1;
        queue.seats += seats;
        queue.requests.push_back(Waiting {
            ticket: self.tickets,
            seats,
            value,
        });
        Some(self.tickets)
    }

    fn first(&self) -> Option<usize> {
        let n = self.queues.len();
        (1..=n)
            .map(|step| (self.last + step) % n)
            .filter(|at| !self.queues[*at].requests.is_empty())
            .min_by_key(|at| self.queues[*at].next_start)
    }

    /// The seats that the next request wants.
    pub fn next_seats(&self) -> Option<u32> {
        self.queues[self.first()?].requests.front().map(|r| r.seats)
    }

    /// Takes the next request out.
    pub fn dispatch(&mut self) -> Option<Dispatched<T>> {
        let at = self.first()?;
        self.last = at;
        let queue = &mut self.queues[at];
        let request = queue.requests.pop_front()?;
        queue.seats -= request.seats;
        self.now = self.now.max(queue.next_start);
        queue.next_start += u64::from(request.seats);
        Some(Dispatched {
            queue: at,
            value: request.value,
        })
    }

    /// Takes a request out of its queue; false where it is no longer there.
    pub fn remove(&mut self, ticket: u64) -> bool {
        for queue in &mut self.queues {
            if let Some(at) = queue.requests.iter().position(|r| r.ticket == ticket) {
                let seats = queue.requests.remove(at).map_or(0, |r| r.seats);
                queue.seats -= seats;
                return true;
            }
        }
        false
    }
}

/// `hand` different queues of `deck`, chosen by a hash: two flows seldom share their whole hand (upstream's shuffle sharding).
fn deal(mut hash: u64, deck: u32, hand: u32) -> Vec<usize> {
    let mut dealt: Vec<usize> = Vec::with_capacity(hand as usize);
    for taken in 0..hand.min(deck) {
        let left = u64::from(deck - taken);
        let mut card = (hash % left) as usize;
        hash /= left;
        let mut sorted = dealt.clone();
        sorted.sort_unstable();
        for earlier in sorted {
            if card >= earlier {
                card += 1;
            }
        }
        dealt.push(card);
    }
    dealt
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RULES: Queuing = Queuing {
        queues: 8,
        length: 10,
        hand: 1,
    };

    #[test]
    fn hands_have_no_queue_twice() {
        for hash in [0, 1, 12_345, u64::MAX, 0x9E37_79B9_7F4A_7C15] {
            let mut hand = deal(hash, 64, 6);
            hand.sort_unstable();
            hand.dedup();
            assert_eq!(hand.len(), 6);
            assert!(hand.iter().all(|card| *card < 64));
        }
    }

    #[test]
    fn a_flow_with_few_requests_is_not_held_up_by_one_with_many() {
        let mut set = QueueSet::new(8);
        for n in 0..9 {
            set.enqueue(&RULES, 1, 1, ("many", n)).unwrap();
        }
        for _ in 0..3 {
            assert_eq!(set.dispatch().unwrap().value.0, "many");
        }
        set.enqueue(&RULES, 2, 1, ("few", 0)).unwrap();
        set.enqueue(&RULES, 2, 1, ("few", 1)).unwrap();
        let next: Vec<&str> = (0..4).map(|_| set.dispatch().unwrap().value.0).collect();
        assert_eq!(next.iter().filter(|flow| **flow == "few").count(), 2);
    }

    #[test]
    fn wide_requests_count_for_more() {
        let mut set = QueueSet::new(8);
        for n in 0..4 {
            set.enqueue(&RULES, 1, 5, ("wide", n)).unwrap();
            set.enqueue(&RULES, 2, 1, ("slim", n)).unwrap();
        }
        let order: Vec<&str> = (0..5).map(|_| set.dispatch().unwrap().value.0).collect();
        assert_eq!(order.iter().filter(|flow| **flow == "slim").count(), 4);
    }

    #[test]
    fn full_queues_and_tickets() {
        let mut set = QueueSet::new(8);
        let tickets: Vec<u64> = (0..10).map(|n| set.enqueue(&RULES, 1, 1, n).unwrap()).collect();
        assert_eq!(set.enqueue(&RULES, 1, 1, 10), None);
        assert!(set.remove(tickets[0]) && !set.remove(tickets[0]));
        let waiting: Vec<usize> = set.look().map(|queue| queue.waiting.len()).collect();
        let next = set.dispatch().unwrap();
        assert_eq!((next.value, set.seats_waiting()), (1, 8));
        assert_eq!((waiting.iter().sum::<usize>(), waiting[next.queue]), (9, 9));
    }
}
