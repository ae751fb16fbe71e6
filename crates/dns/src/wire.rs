//! From a request's bytes to a response's: header flags, EDNS, truncation.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record};

use crate::answer::Outcome;

/// Largest UDP response that passes every path unfragmented (DNS flag day 2020).
const MAX_UDP_BYTES: usize = 1232;

/// A request as far as it was understood.
#[derive(Debug)]
pub(crate) enum Request {
    /// One question to answer.
    Question(Box<Message>, Query),
    /// Respond with this at once.
    Refuse(Box<Message>),
    /// Not a request at all: a response, or too short to have an id.
    Ignore,
}

pub(crate) fn read(bytes: &[u8]) -> Request {
    let Ok(message) = Message::from_vec(bytes) else {
        return match (bytes.first_chunk::<2>(), bytes.get(2)) {
            (Some(id), Some(flags)) if flags & 0x80 == 0 => Request::Refuse(Box::new(Message::error_msg(
                u16::from_be_bytes(*id),
                OpCode::Query,
                ResponseCode::FormErr,
            ))),
            _ => Request::Ignore,
        };
    };
    if message.metadata.message_type != MessageType::Query {
        return Request::Ignore;
    }
    let refuse = |code| {
        let mut response = respond(&message);
        response.metadata.response_code = code;
        Request::Refuse(Box::new(response))
    };
    if message.metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    if message.edns.as_ref().is_some_and(|e| e.version() != 0) {
        return refuse(ResponseCode::BADVERS);
    }
    match message.queries.as_slice() {
        [query] if query.query_class() == DNSClass::IN => {
            let query = query.clone();
            Request::Question(Box::new(message), query)
        }
        [_] => refuse(ResponseCode::NotImp),
        _ => refuse(ResponseCode::FormErr),
    }
}

/// An empty response to a request, with its question.
pub(crate) fn respond(request: &Message) -> Message {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.checking_disabled = request.metadata.checking_disabled;
    response.metadata.recursion_available = true;
    response.add_queries(request.queries.iter().cloned());
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_BYTES as u16);
        response.set_edns(edns);
    }
    response
}

/// The response for an outcome that needs nobody else. `None` for the others.
pub(crate) fn authoritative(request: &Message, outcome: &Outcome) -> Option<Message> {
    let mut response = respond(request);
    response.metadata.authoritative = true;
    match outcome {
        Outcome::Found { answers, additionals } => {
            response.add_answers(answers.iter().cloned());
            response.add_additionals(additionals.iter().cloned());
        }
        Outcome::NoData { soa } => {
            response.add_authority((**soa).clone());
        }
        Outcome::NoSuchName { soa } => {
            response.metadata.response_code = ResponseCode::NXDomain;
            response.add_authority((**soa).clone());
        }
        Outcome::Alias { .. } | Outcome::NotOurs => return None,
    }
    Some(response)
}

/// A failure of ours or of those we asked.
pub(crate) fn failure(request: &Message, code: ResponseCode) -> Message {
    let mut response = respond(request);
    response.metadata.response_code = code;
    response
}

/// An alias together with what the servers elsewhere say of its target.
pub(crate) fn aliased(request: &Message, alias: &[Record], elsewhere: &Message) -> Message {
    let mut response = respond(request);
    response.metadata.response_code = elsewhere.metadata.response_code;
    response.add_answers(alias.iter().cloned());
    response.add_answers(elsewhere.answers.iter().cloned());
    response.add_authorities(elsewhere.authorities.iter().cloned());
    response
}

/// Bytes for UDP: what does not fit the client's buffer is left out and marked, so that it comes again by TCP.
pub(crate) fn udp_bytes(request: &Message, response: &Message) -> Option<Vec<u8>> {
    let limit = usize::from(request.max_payload()).min(MAX_UDP_BYTES);
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    response.truncate().to_vec().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hickory_proto::rr::{Name, RecordType};
    use std::str::FromStr;

    /// Whatever comes is answered or ignored, and the answer fits.
    #[test]
    fn spoiled_requests_are_answered_or_ignored() {
        let corpus: Vec<Vec<u8>> = ["web.default.svc.cluster.local.", "1.0.96.10.in-addr.arpa.", "."]
            .iter()
            .map(|name| {
                let mut message = Message::query();
                message.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
                message.set_edns(Edns::new());
                message.to_vec().unwrap()
            })
            .collect();
        let mut questions = 0;
        corten_fuzz::spoil("dns", &corpus, |input| {
            if let Request::Question(message, _) = read(input) {
                questions += 1;
                let failure = failure(&message, ResponseCode::ServFail);
                let bytes = udp_bytes(&message, &failure).unwrap();
                assert!(bytes.len() <= MAX_UDP_BYTES);
            }
        });
        assert!(questions > 100, "only {questions} were understood");
    }
}
