//! From source to syntax tree: the whole grammar of CEL, with macros expanded on the way.
//!
//! Messages follow the generated parser of cel-go: what was found, and what could stand there.

pub(crate) mod ast;
mod lex;
mod literal;
mod macros;
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

    fn expr(&mut self) -> Parse<Expr> {
        self.enter(Rule::Expr)?;
        let condition = self.or()?;
        let result = if self.tok() == Tok::Sym("?") {
            let id = self.new_id(self.offset());
            self.advance();
            let then = self.or()?;
            self.colon()?;
            let otherwise = self.expr()?;
            self.nest(id, 1, &[condition.id, then.id, otherwise.id])?;
            self.global(id, "_?_:_", vec![condition, then, otherwise])
        } else {
            condition
        };
        self.leave(Rule::Expr, 1);
        Ok(result)
    }

    fn or(&mut self) -> Parse<Expr> {
        let mut terms = vec![self.and()?];
        let mut ids = Vec::new();
        while self.tok() == Tok::Sym("||") {
            let offset = self.offset();
            self.advance();
            terms.push(self.and()?);
            ids.push(self.new_id(offset));
        }
        self.balance("_||_", terms, &ids)
    }

    fn and(&mut self) -> Parse<Expr> {
        let mut terms = vec![self.relation()?];
        let mut ids = Vec::new();
        while self.tok() == Tok::Sym("&&") {
            let offset = self.offset();
            self.advance();
            terms.push(self.relation()?);
            ids.push(self.new_id(offset));
        }
        self.balance("_&&_", terms, &ids)
    }

    /// Long chains become balanced trees, so that they do not count as nesting.
    fn balance(&mut self, function: &'static str, terms: Vec<Expr>, ids: &[Id]) -> Parse<Expr> {
        let inner: Vec<Id> = terms.iter().map(|t| t.id).collect();
        for id in ids {
            self.nest(*id, 0, &inner)?;
        }
        let mut terms = terms.into_iter();
        balanced(function, &mut terms, ids).ok_or(Stop)
    }

    fn relation(&mut self) -> Parse<Expr> {
        self.enter(Rule::Relation)?;
        let mut left = self.calc(0)?;
        let mut entered = 1;
        while let Some(function) = relation_function(self.tok()) {
            let id = self.new_id(self.offset());
            self.advance();
            self.enter(Rule::Relation)?;
            entered += 1;
            let right = self.calc(0)?;
            self.nest(id, 1, &[left.id, right.id])?;
            left = self.global(id, function, vec![left, right]);
        }
        self.leave(Rule::Relation, entered);
        Ok(left)
    }

    fn calc(&mut self, level: usize) -> Parse<Expr> {
        self.enter(Rule::Calc)?;
        let mut left = if level == 0 { self.calc(1)? } else { self.unary()? };
        let mut entered = 1;
        while let Some(function) = calc_function(self.tok(), level) {
            let id = self.new_id(self.offset());
            self.advance();
            self.enter(Rule::Calc)?;
            entered += 1;
            let right = if level == 0 { self.calc(1)? } else { self.unary()? };
            self.nest(id, 1, &[left.id, right.id])?;
            left = self.global(id, function, vec![left, right]);
        }
        self.leave(Rule::Calc, entered);
        Ok(left)
    }

    fn unary(&mut self) -> Parse<Expr> {
        let symbol = match self.tok() {
            Tok::Sym("!") => "!",
            Tok::Sym("-") if !self.signed_number() => "-",
            _ => return self.member(),
        };
        let offset = self.offset();
        let mut count = 0;
        while self.eat(symbol) {
            count += 1;
        }
        self.after_sign(symbol)?;
        let operand = self.member()?;
        if count % 2 == 0 {
            return Ok(operand);
        }
        let id = self.new_id(offset);
        self.nest(id, 1, &[operand.id])?;
        let function = if symbol == "!" { "!_" } else { "-_" };
        Ok(self.global(id, function, vec![operand]))
    }

    /// Signs need an operand; the generated parser words their lack in its own way.
    fn after_sign(&mut self, symbol: &str) -> Parse<()> {
        let end = self.tok() == Tok::Eof;
        if symbol == "!" && end {
            self.syntax(format!("extraneous input '<EOF>' expecting {BEGIN}"));
            return Err(Stop);
        }
        let stray = self.tok() == Tok::Sym("!");
        if symbol == "-" && (end || stray) {
            let text = if stray { "!" } else { "" };
            self.syntax(format!("no viable alternative at input '-{text}'"));
            if end {
                self.syntax(format!("mismatched input '<EOF>' expecting {BEGIN}"));
            }
            return Err(Stop);
        }
        Ok(())
    }

    fn signed_number(&self) -> bool {
        matches!(
            self.tokens.get(self.at + 1).map(|t| t.tok),
            Some(Tok::Int | Tok::Float)
        )
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

fn balanced(function: &'static str, terms: &mut std::vec::IntoIter<Expr>, ids: &[Id]) -> Option<Expr> {
    if ids.is_empty() {
        return terms.next();
    }
    let mid = ids.len() / 2;
    let left = balanced(function, terms, &ids[..mid])?;
    let right = balanced(function, terms, &ids[mid + 1..])?;
    let kind = Kind::Call {
        function: Arc::from(function),
        target: None,
        args: vec![left, right],
    };
    Some(Expr { id: ids[mid], kind })
}

fn relation_function(tok: Tok) -> Option<&'static str> {
    Some(match tok {
        Tok::Sym("<") => "_<_",
        Tok::Sym("<=") => "_<=_",
        Tok::Sym(">=") => "_>=_",
        Tok::Sym(">") => "_>_",
        Tok::Sym("==") => "_==_",
        Tok::Sym("!=") => "_!=_",
        Tok::In => "@in",
        _ => return None,
    })
}

fn calc_function(tok: Tok, level: usize) -> Option<&'static str> {
    Some(match (tok, level) {
        (Tok::Sym("+"), 0) => "_+_",
        (Tok::Sym("-"), 0) => "_-_",
        (Tok::Sym("*"), 1) => "_*_",
        (Tok::Sym("/"), 1) => "_/_",
        (Tok::Sym("%"), 1) => "_%_",
        _ => return None,
    })
}
