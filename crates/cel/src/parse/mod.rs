//! From source to syntax tree: the whole grammar of CEL, with macros expanded on the way.
//!
//! Messages follow the generated parser of cel-go: what was found, and what could stand there.

pub(crate) mod ast;
mod copy;
mod lex;
mod literal;
mod macros;
mod operators;
mod primary;

use ast::{Expr, Id, Kind, Literal, Parsed};
use lex::{Tok, Token};
use std::sync::Arc;

/// Longer sources, in characters, are not parsed.
const SIZE_MAX: usize = 100_000;
/// Nesting beyond this is an error; it bounds the stack that all later walks need.
const DEPTH_MAX: usize = 250;

/// An error: the byte offset, if it has a place, and the message.
pub(crate) type Found = (Option<u32>, String);

/// Which macros exist beside those of the language.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// `cel.bind`.
    pub bind: bool,
}

/// # Errors
/// All that is wrong with the source, in cel-go's words.
pub(crate) fn parse(source: &str, options: Options) -> Result<Parsed, Vec<Found>> {
    let size = source.chars().count();
    if size > SIZE_MAX {
        let message = format!("expression code point size exceeds limit: size: {size}, limit {SIZE_MAX}");
        return Err(vec![(None, message)]);
    }
    let (tokens, lexical) = lex::tokens(source);
    let mut errors: Vec<Found> = lexical
        .into_iter()
        .map(|(offset, message)| (Some(offset), format!("Syntax error: {message}")))
        .collect();
    let mut parser = Parser {
        source,
        tokens,
        at: 0,
        offsets: vec![0],
        heights: vec![0],
        depth: [0; 4],
        errors: Vec::new(),
        options,
    };
    let root = parser.start();
    errors.append(&mut parser.errors);
    match root {
        Ok(root) if errors.is_empty() => Ok(Parsed {
            root,
            offsets: parser.offsets,
        }),
        _ => Err(errors),
    }
}

/// Parsing went no further; the reason is in `errors`.
pub(crate) struct Stop;

type Parse<T> = Result<T, Stop>;

pub(crate) struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    offsets: Vec<u32>,
    /// Nesting by id, of the kinds that cel-go counts when it visits the tree.
    heights: Vec<u16>,
    depth: [usize; 4],
    errors: Vec<Found>,
    options: Options,
}

/// Rules whose nesting is counted.
#[derive(Clone, Copy)]
enum Rule {
    Expr,
    Relation,
    Calc,
    Member,
}

/// What can begin an expression, as the generated parser lists it.
const BEGIN: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
/// What can follow an operand inside brackets.
const OPERATORS: &str =
    "'==', '!=', 'in', '<', '<=', '>=', '>', '&&', '||', '[', '.', '-', '?', '+', '*', '/', '%'";

impl Parser<'_> {
    fn start(&mut self) -> Parse<Expr> {
        let root = self.expr()?;
        if self.tok() != Tok::Eof {
            let one_more = self.tokens.get(self.at + 1).is_some_and(|t| t.tok == Tok::Eof);
            let token = self.shown();
            let what = if one_more { "extraneous" } else { "mismatched" };
            let message = format!("{what} input {token} expecting <EOF>");
            self.syntax(message);
            return Err(Stop);
        }
        Ok(root)
    }

    fn tok(&self) -> Tok {
        self.tokens[self.at].tok
    }

    fn offset(&self) -> u32 {
        self.tokens[self.at].start
    }

    fn text(&self) -> &str {
        let token = self.tokens[self.at];
        &self.source[token.start as usize..token.end as usize]
    }

    fn shown(&self) -> String {
        match self.tok() {
            Tok::Eof => "'<EOF>'".to_owned(),
            _ => format!("'{}'", self.text()),
        }
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn eat(&mut self, symbol: &'static str) -> bool {
        let found = self.tok() == Tok::Sym(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn syntax(&mut self, message: String) {
        self.errors
            .push((Some(self.offset()), format!("Syntax error: {message}")));
    }

    /// The closing bracket, or the message that it is missing.
    fn close(&mut self, symbol: &'static str) -> Parse<()> {
        if self.eat(symbol) {
            return Ok(());
        }
        let shown = self.shown();
        let next = self.tokens.get(self.at + 1).map(|t| t.tok);
        if self.tok() == Tok::Eof {
            self.syntax(format!("missing '{symbol}' at {shown}"));
        } else if next == Some(Tok::Sym(symbol)) {
            self.syntax(format!("extraneous input {shown} expecting '{symbol}'"));
        } else {
            self.syntax(format!("mismatched input {shown} expecting '{symbol}'"));
        }
        Err(Stop)
    }

    /// The second part of a conditional.
    fn colon(&mut self) -> Parse<()> {
        if self.eat(":") {
            return Ok(());
        }
        let shown = self.shown();
        let next = self.tokens.get(self.at + 1).map(|t| t.tok);
        let what = if next == Some(Tok::Sym(":")) {
            "extraneous"
        } else {
            "mismatched"
        };
        self.syntax(format!("{what} input {shown} expecting ':'"));
        Err(Stop)
    }

    fn new_id(&mut self, offset: u32) -> Id {
        self.offsets.push(offset);
        self.heights.push(0);
        (self.offsets.len() - 1) as Id
    }

    fn new(&mut self, offset: u32, kind: Kind) -> Expr {
        let id = self.new_id(offset);
        Expr { id, kind }
    }

    /// An error at a place that has been parsed.
    fn report(&mut self, offset: u32, message: impl Into<String>) -> Expr {
        self.errors.push((Some(offset), message.into()));
        self.new(offset, Kind::Missing)
    }

    fn enter(&mut self, rule: Rule) -> Parse<()> {
        self.depth[rule as usize] += 1;
        if self.depth[rule as usize] > DEPTH_MAX {
            self.errors
                .push((None, format!("expression recursion limit exceeded: {DEPTH_MAX}")));
            return Err(Stop);
        }
        Ok(())
    }

    fn leave(&mut self, rule: Rule, times: usize) {
        self.depth[rule as usize] -= times;
    }

    /// Notes that `id` nests the given expressions.
    fn nest(&mut self, id: Id, step: u16, inner: &[Id]) -> Parse<()> {
        let deepest = inner.iter().map(|i| self.heights[*i as usize]).max().unwrap_or(0);
        let height = deepest + step;
        if height as usize > DEPTH_MAX {
            self.errors
                .push((None, "max recursion depth exceeded".to_owned()));
            return Err(Stop);
        }
        self.heights[id as usize] = height;
        Ok(())
    }

    /// A call of a function without target; the macros among them are expanded.
    fn global(&mut self, id: Id, function: &str, args: Vec<Expr>) -> Expr {
        match self.expand(id, function, None, args) {
            Ok(expanded) => expanded,
            Err((_, args)) => Expr {
                id,
                kind: Kind::Call {
                    function: Arc::from(function),
                    target: None,
                    args,
                },
            },
        }
    }

    fn literal(&mut self, offset: u32, literal: Literal) -> Expr {
        self.new(offset, Kind::Literal(literal))
    }
}

fn is_name(expr: &Expr) -> bool {
    matches!(&expr.kind, Kind::Ident(_))
        || matches!(&expr.kind, Kind::Select { .. }) && expr.qualified_name().is_some()
}
