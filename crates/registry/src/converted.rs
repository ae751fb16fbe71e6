//! What a webhook made of stored objects: one of these for each handle whose versions a webhook converts, shared by all who
//! ask through the handle. Each revision of an object is sent once, however many read and watch it.
//!
//! What is shared depends on the object's key, its revision and the handle, and on nothing else. So only what the store
//! holds goes through here: not what a dry run would write, not what an update that deletes answers, not the last state of
//! an object under the revision of its deletion (the state is converted under its own revision, and renamed then).
//!
//! - Of a key the two newest revisions that were asked for are kept: an event compares an object with the one before. All
//!   together are bounded by [`CONVERTED_BYTES`]; over it, what was not asked for the longest goes first.
//! - What nobody has asked for is claimed and sent, so many together as a review takes. What somebody has sent is waited
//!   for. A review is carried on by whoever waits for it, and is dropped, its claims with it, when nobody does any more:
//!   neither a request that is cancelled nor a client that does not read holds up the others.
//! - A failure goes to all who waited for that review, and is not kept.
//! - A definition whose spec changes gets new handles, which know nothing yet.

use std::collections::HashMap;
use std::sync::Arc;

use corten_meta::{Result, Status};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use lru::LruCache;
use parking_lot::Mutex;

use crate::object::Object;
use crate::versions::Versions;

#[cfg(test)]
mod tests;

/// Objects that are sent to a webhook in one review at most; further ones are sent when their answer is there.
pub(crate) const CONVERTED_TOGETHER: usize = 500;
/// A review that holds so many bytes of objects takes no further one.
pub(crate) const CONVERTED_TOGETHER_BYTES: usize = 8 << 20;
/// What a handle keeps. Longer objects than this are converted for each who asks.
const CONVERTED_BYTES: usize = 64 << 20;
/// What keeping an object takes beside its key and JSON, about.
const KEPT_BYTES: usize = 300;

/// See the module.
pub(crate) struct Converted {
    state: Mutex<State>,
    /// Bytes that may be kept.
    most: usize,
}

/// A review's objects in the handle's version, in the order they were sent in.
type Answer = Result<Arc<[Object]>>;
type Sent = BoxFuture<'static, Answer>;
/// Key and revision.
type Id = (Box<str>, u64);

struct State {
    kept: LruCache<Box<str>, Kept>,
    /// Of all that is kept.
    bytes: usize,
    /// What a review that is under way will answer.
    asked: HashMap<Id, Asked>,
    /// How many there were.
    reviews: u64,
}

/// The newest revisions of a key.
struct Kept {
    newest: Object,
    before: Option<Object>,
}

/// Where an answer will be.
struct Asked {
    review: u64,
    answer: WeakShared<Sent>,
    place: usize,
}

/// The place of an object among those asked about, and where its answer will be.
struct Awaited {
    at: usize,
    answer: Shared<Sent>,
    place: usize,
}

impl Default for Converted {
    fn default() -> Self {
        Self::with_most(CONVERTED_BYTES)
    }
}

impl Converted {
    fn with_most(most: usize) -> Self {
        let state = State {
            kept: LruCache::unbounded(),
            bytes: 0,
            asked: HashMap::new(),
            reviews: 0,
        };
        Self {
            state: Mutex::new(state),
            most,
        }
    }

    /// Stored objects in the version of the handle that `versions` are of.
    ///
    /// # Errors
    /// Where a review fails that one of them was sent in, by whomever.
    pub async fn all(
        self: &Arc<Self>,
        versions: &Arc<dyn Versions>,
        mut objects: Vec<Object>,
    ) -> Result<Vec<Object>> {
        let (mut next, mut awaited) = (0, Vec::new());
        // The next review is sent when this one is answered: others may have asked meanwhile.
        while let Some(own) = self.claim(versions, &mut objects, &mut next, &mut awaited) {
            own.await?;
        }
        for Awaited { at, answer, place } in awaited {
            let answer = answer.await?;
            objects[at] = answer.get(place).cloned().ok_or_else(lost)?;
        }
        Ok(objects)
    }

    /// Goes on from `next`: puts what is kept in place, notes what is awaited, and claims what one review takes. `None`
    /// where there was nothing to claim.
    fn claim(
        self: &Arc<Self>,
        versions: &Arc<dyn Versions>,
        objects: &mut [Object],
        next: &mut usize,
        awaited: &mut Vec<Awaited>,
    ) -> Option<Shared<Sent>> {
        let mut review = Review::default();
        let mut state = self.state.lock();
        while let Some(object) = objects.get_mut(*next) {
            let at = *next;
            if object.json().starts_with(versions.head()) {
                // It was written in the version that is asked for.
            } else if let Some(made) = state.find(object) {
                *object = made;
            } else {
                let id = (object.key().into(), object.revision());
                if let Some(place) = review.places.get(&id) {
                    review.own.push((at, *place));
                } else if let Some((answer, place)) = state.under_way(&id) {
                    awaited.push(Awaited { at, answer, place });
                } else if review.is_full() {
                    break;
                } else {
                    review.add(at, id, object);
                }
            }
            *next += 1;
        }
        if review.objects.is_empty() {
            return None;
        }
        state.reviews += 1;
        let number = state.reviews;
        let claim = Claim {
            converted: Arc::clone(self),
            review: number,
            ids: review.places.keys().cloned().collect(),
        };
        let answer = send(claim, Arc::clone(versions), review.objects).boxed().shared();
        for (id, place) in review.places {
            // It has not been polled, so it has not ended.
            if let Some(answer) = answer.downgrade() {
                let asked = Asked {
                    review: number,
                    answer,
                    place,
                };
                state.asked.insert(id, asked);
            }
        }
        awaited.extend(review.own.into_iter().map(|(at, place)| Awaited {
            at,
            answer: answer.clone(),
            place,
        }));
        Some(answer)
    }

    fn keep(&self, made: &[Object]) {
        let mut state = self.state.lock();
        made.iter().for_each(|object| state.keep(object, self.most));
    }
}

impl State {
    fn find(&mut self, object: &Object) -> Option<Object> {
        let kept = self.kept.get(object.key())?;
        let mut revisions = std::iter::once(&kept.newest).chain(&kept.before);
        revisions
            .find(|made| made.revision() == object.revision())
            .cloned()
    }

    fn under_way(&self, id: &Id) -> Option<(Shared<Sent>, usize)> {
        let asked = self.asked.get(id)?;
        Some((asked.answer.upgrade()?, asked.place))
    }

    fn keep(&mut self, made: &Object, most: usize) {
        let size = bytes_of(made);
        if made.revision() == 0 || size > most {
            return;
        }
        self.bytes += size;
        let dropped = match self.kept.get_mut(made.key()) {
            None => {
                let (newest, before) = (made.clone(), None);
                self.kept.put(made.key().into(), Kept { newest, before });
                None
            }
            Some(kept) => kept.take_in(made),
        };
        self.bytes -= dropped.as_ref().map_or(0, bytes_of);
        while self.bytes > most
            && let Some((_, kept)) = self.kept.pop_lru()
        {
            self.bytes -= bytes_of(&kept.newest) + kept.before.as_ref().map_or(0, bytes_of);
        }
    }
}

impl Kept {
    /// Gives back what is not kept of this object and those that were there.
    fn take_in(&mut self, made: &Object) -> Option<Object> {
        let revision = made.revision();
        if revision > self.newest.revision() {
            let newest = std::mem::replace(&mut self.newest, made.clone());
            return self.before.replace(newest);
        }
        let before = self.before.as_ref().map_or(0, Object::revision);
        if revision == self.newest.revision() || revision <= before {
            return Some(made.clone());
        }
        self.before.replace(made.clone())
    }
}

fn bytes_of(made: &Object) -> usize {
    2 * made.key().len() + made.json().len() + KEPT_BYTES
}

/// What is to be sent together.
#[derive(Default)]
struct Review {
    objects: Vec<Object>,
    bytes: usize,
    /// Among `objects`; those without a revision are nobody else's.
    places: HashMap<Id, usize>,
    /// Places of objects among those asked about, and among `objects`.
    own: Vec<(usize, usize)>,
}

impl Review {
    fn is_full(&self) -> bool {
        self.objects.len() >= CONVERTED_TOGETHER || self.bytes >= CONVERTED_TOGETHER_BYTES
    }

    fn add(&mut self, at: usize, id: Id, object: &Object) {
        let place = self.objects.len();
        self.own.push((at, place));
        if object.revision() > 0 {
            self.places.insert(id, place);
        }
        self.bytes += object.json().len();
        self.objects.push(object.clone());
    }
}

/// Dropped when the review has ended or nobody waits for it any more.
struct Claim {
    converted: Arc<Converted>,
    review: u64,
    ids: Vec<Id>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.converted.state.lock();
        for id in &self.ids {
            // Another may have claimed it since nobody waited.
            let own = |asked: &Asked| asked.review == self.review;
            if state.asked.get(id).is_some_and(own) {
                state.asked.remove(id);
            }
        }
    }
}

async fn send(claim: Claim, versions: Arc<dyn Versions>, objects: Vec<Object>) -> Answer {
    let made = each(versions.as_ref(), &objects).await?;
    // Before the claims go: nobody finds neither.
    claim.converted.keep(&made);
    Ok(made.into())
}

/// Objects in the handle's version, asked for alone and kept by nobody.
///
/// # Errors
/// Where the webhook fails or gives something else.
pub(crate) async fn each(versions: &dyn Versions, objects: &[Object]) -> Result<Vec<Object>> {
    let values = objects.iter().map(Object::value).collect::<Result<Vec<_>>>()?;
    let made = versions.to_served(values).await?;
    if made.len() != objects.len() {
        return Err(lost());
    }
    let both = objects.iter().zip(made);
    both.map(|(object, value)| object.converted(&value)).collect()
}

/// An answer is missing.
pub(crate) fn lost() -> Status {
    Status::internal("a conversion did not give as many objects as it was given")
}
