//! nf_tables over netlink: transactions on one table of family `ip`. A transaction is one datagram between batch
//! begin and end; the kernel takes all of it or nothing.

mod expr;
pub mod parts;
mod set;

pub use expr::{Expr, Reg, Verdict, encode_rule};
pub use set::{Data, Element, MAX_ELEMENTS_PER_MESSAGE, SetSpec, ty};

use crate::error::{Error, Result};
use crate::netlink::wire::{self, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP};
use crate::netlink::{Family, Messages, Socket};
use nix::errno::Errno;

const SUBSYSTEM: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFPROTO_IPV4: u8 = 2;

const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// Where a base chain sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// Priorities of linux/netfilter_ipv4.h.
pub const PRIORITY_DSTNAT: i32 = -100;
/// Sees the destination that the client used.
pub const PRIORITY_BEFORE_DSTNAT: i32 = PRIORITY_DSTNAT - 10;
pub const PRIORITY_FILTER: i32 = 0;
pub const PRIORITY_SRCNAT: i32 = 100;

/// nf_tables in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
}

impl Nft {
    pub fn open() -> Result<Self> {
        Ok(Self {
            socket: Socket::open(Family::Netfilter)?,
        })
    }

    /// Carries out a transaction, atomically. Any refusal undoes all of it.
    pub fn commit(&mut self, transaction: Transaction) -> Result<()> {
        let table = transaction.table.clone();
        let answers = self.socket.transact(transaction.finish())?;
        if let Some((index, errno)) = answers.iter().find_map(|a| a.result.err().map(|e| (a.index, e))) {
            return Err(Error::kernel(
                format!("changing nf_tables table {table} (part {index})"),
                errno,
            ));
        }
        if answers.is_empty() {
            return Err(Error::kernel(
                format!("changing nf_tables table {table}: no answer"),
                Errno::EIO,
            ));
        }
        Ok(())
    }

    /// Names of all IPv4 tables.
    pub fn tables(&mut self) -> Result<Vec<String>> {
        let parts = self.dump("listing nf_tables tables", GETTABLE)?;
        Ok(parts.iter().filter_map(|p| name(p, NFTA_TABLE_NAME)).collect())
    }

    /// All chains of IPv4 tables.
    pub fn chains(&mut self) -> Result<Vec<Chain>> {
        let parts = self.dump("listing nf_tables chains", GETCHAIN)?;
        Ok(parts.iter().filter_map(|p| Chain::parse(p)).collect())
    }

    /// Removes a table with everything in it. No such table is fine.
    pub fn remove_table(&mut self, table: &str) -> Result<()> {
        let mut transaction = Transaction::new(table);
        transaction.delete_table();
        self.commit(transaction)
    }

    fn dump(&mut self, what: &str, kind: u16) -> Result<Vec<Vec<u8>>> {
        let parts = self.socket.dump(what, |m| {
            m.push(message(kind), NLM_F_DUMP, &[NFPROTO_IPV4, 0, 0, 0], |_| {})
        })?;
        Ok(parts.into_iter().map(|m| m.payload).collect())
    }
}

/// A chain as the kernel reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub table: String,
    pub name: String,
    /// A base chain of the forward hook that drops what no rule accepts.
    pub drops_forwarded: bool,
}

impl Chain {
    fn parse(payload: &[u8]) -> Option<Self> {
        let body = payload.get(4..)?;
        let number = |bytes: &[u8], kind| wire::attr(bytes, kind).and_then(wire::be32);
        let hook = wire::attr(body, NFTA_CHAIN_HOOK).and_then(|h| number(h, NFTA_HOOK_HOOKNUM));
        let drops = number(body, NFTA_CHAIN_POLICY) == Some(NF_DROP);
        Some(Chain {
            table: name(payload, NFTA_CHAIN_TABLE)?,
            name: name(payload, NFTA_CHAIN_NAME)?,
            drops_forwarded: drops && hook == Some(Hook::Forward as u32),
        })
    }
}

fn name(payload: &[u8], kind: u16) -> Option<String> {
    wire::attr(payload.get(4..)?, kind)
        .and_then(wire::text)
        .map(str::to_owned)
}

const fn message(kind: u16) -> u16 {
    (SUBSYSTEM << 8) | kind
}

/// The changes of one commit, to one table. Starts by making sure that the table exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    table: String,
    messages: Messages,
    next_set_id: u32,
}

impl Transaction {
    pub fn new(table: &str) -> Self {
        let mut messages = Messages::new();
        messages.push(NFNL_MSG_BATCH_BEGIN, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| {});
        let mut transaction = Self {
            table: table.to_owned(),
            messages,
            next_set_id: 1,
        };
        transaction.add_table(NLM_F_ACK);
        transaction
    }

    fn push(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut wire::Attrs<'_>)) {
        self.messages
            .push(message(kind), flags, &[NFPROTO_IPV4, 0, 0, 0], body);
    }

    fn add_table(&mut self, flags: u16) {
        let table = self.table.clone();
        self.push(NEWTABLE, NLM_F_CREATE | flags, |a| a.str(NFTA_TABLE_NAME, &table));
    }

    /// Deletes the table and all it holds.
    pub fn delete_table(&mut self) {
        let table = self.table.clone();
        self.push(DELTABLE, 0, |a| a.str(NFTA_TABLE_NAME, &table));
    }

    /// Deletes the table and starts it afresh.
    pub fn recreate_table(&mut self) {
        self.delete_table();
        self.add_table(0);
    }

    /// A chain that hooks into the packet path, accepting by default. `kind` is `nat` or `filter`.
    pub fn base_chain(&mut self, chain: &str, kind: &str, hook: Hook, priority: i32) {
        let table = self.table.clone();
        self.push(NEWCHAIN, NLM_F_CREATE, |a| {
            a.str(NFTA_CHAIN_TABLE, &table);
            a.str(NFTA_CHAIN_NAME, chain);
            a.nest(NFTA_CHAIN_HOOK, |a| {
                a.be32(NFTA_HOOK_HOOKNUM, hook as u32);
                a.be32(NFTA_HOOK_PRIORITY, priority as u32);
            });
            a.str(NFTA_CHAIN_TYPE, kind);
            a.be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
        });
    }

    pub fn chain(&mut self, chain: &str) {
        self.chain_message(NEWCHAIN, NLM_F_CREATE, chain);
    }

    /// Makes a chain, or empties it.
    pub fn empty_chain(&mut self, chain: &str) {
        self.chain(chain);
        self.chain_message(DELRULE, 0, chain);
    }

    /// Deletes a chain with its rules.
    pub fn delete_chain(&mut self, chain: &str) {
        self.chain_message(DELRULE, 0, chain);
        self.chain_message(DELCHAIN, 0, chain);
    }

    /// `NFTA_RULE_TABLE` and `NFTA_RULE_CHAIN` are 1 and 2 where a chain's own name is 3.
    fn chain_message(&mut self, kind: u16, flags: u16, chain: &str) {
        let table = self.table.clone();
        let name = if kind == DELRULE { 2 } else { NFTA_CHAIN_NAME };
        self.push(kind, flags, |a| {
            a.str(NFTA_CHAIN_TABLE, &table);
            a.str(name, chain);
        });
    }

    /// Appends a rule.
    pub fn rule(&mut self, chain: &str, expressions: &[Expr]) {
        let table = self.table.clone();
        self.push(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |a| {
            encode_rule(a, &table, chain, expressions)
        });
    }

    /// Creates a set or map.
    pub fn set(&mut self, spec: &SetSpec<'_>) {
        let (table, id) = (self.table.clone(), self.next_set_id);
        self.next_set_id += 1;
        self.push(NEWSET, NLM_F_CREATE, |a| set::encode_spec(a, &table, id, spec));
    }

    pub fn add_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(NEWSETELEM, NLM_F_CREATE, set, elements);
    }

    /// Deletes elements by key. A key that is not there refuses the whole transaction.
    pub fn delete_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(DELSETELEM, 0, set, elements);
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element]) {
        let table = self.table.clone();
        for part in elements.chunks(MAX_ELEMENTS_PER_MESSAGE) {
            self.push(kind, flags, |a| set::encode_elements(a, &table, set, part));
        }
    }

    fn finish(mut self) -> Messages {
        self.messages
            .push(NFNL_MSG_BATCH_END, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| {});
        self.messages
    }
}
