//! Operands: literals, names, calls, selections, and what stands in brackets.

use super::ast::{Entry, Expr, Field, Id, Kind, Literal};
use super::lex::Tok;
use super::{BEGIN, Found, OPERATORS, Parse, Parser, Rule, Stop, is_name, literal};
use crate::escape::RESERVED;
use std::sync::Arc;

impl Parser<'_> {
    pub(super) fn member(&mut self) -> Parse<Expr> {
        self.enter(Rule::Member)?;
        let mut left = self.primary()?;
        let mut entered = 1;
        loop {
            let offset = self.offset();
            match self.tok() {
                Tok::Sym(".") => left = self.select(left, offset)?,
                Tok::Sym("[") => {
                    self.advance();
                    let function = if self.eat("?") { "_[?_]" } else { "_[_]" };
                    let id = self.new_id(offset);
                    let index = self.expr()?;
                    self.close("]")?;
                    self.nest(id, 1, &[left.id, index.id])?;
                    left = self.global(id, function, vec![left, index]);
                }
                Tok::Sym("{") if is_name(&left) => left = self.message(&left, offset)?,
                _ => break,
            }
            self.enter(Rule::Member)?;
            entered += 1;
        }
        self.leave(Rule::Member, entered);
        Ok(left)
    }

    fn select(&mut self, left: Expr, offset: u32) -> Parse<Expr> {
        self.advance();
        let optional = self.eat("?");
        if optional && !matches!(self.tok(), Tok::Ident | Tok::EscIdent) {
            let shown = self.shown();
            self.syntax(format!(
                "mismatched input {shown} expecting {{IDENTIFIER, ESC_IDENTIFIER}}"
            ));
            let at = self.offset();
            self.report(at, "unsupported ident kind");
            return Err(Stop);
        }
        let (field, field_at) = self.field_name()?;
        if optional {
            let inner = left.id;
            let id = self.new_id(offset);
            let name = self.literal(field_at, Literal::String(field));
            self.nest(id, 1, &[inner])?;
            return Ok(self.global(id, "_?._", vec![left, name]));
        }
        if self.tok() != Tok::Sym("(") {
            let inner = left.id;
            let kind = Kind::Select {
                operand: Box::new(left),
                field,
                test_only: false,
            };
            let expr = self.new(offset, kind);
            self.nest(expr.id, 1, &[inner])?;
            return Ok(expr);
        }
        let id = self.new_id(self.offset());
        let args = self.arguments()?;
        let inner: Vec<Id> = args.iter().map(|a| a.id).chain([left.id]).collect();
        self.nest(id, 1, &inner)?;
        Ok(match self.expand(id, &field, Some(left), args) {
            Ok(expanded) => expanded,
            Err((target, args)) => Expr {
                id,
                kind: Kind::Call {
                    function: field,
                    target: target.map(Box::new),
                    args,
                },
            },
        })
    }

    fn field_name(&mut self) -> Parse<(Arc<str>, u32)> {
        let offset = self.offset();
        let name: Arc<str> = match self.tok() {
            Tok::Ident => self.text().into(),
            Tok::EscIdent => {
                let message = "unsupported syntax: '`'";
                self.errors.push((Some(offset), message.to_owned()));
                self.text().trim_matches('`').into()
            }
            _ => {
                let shown = match self.tok() {
                    Tok::Eof => String::new(),
                    _ => self.shown(),
                };
                let keyword = matches!(self.tok(), Tok::True | Tok::False | Tok::Null);
                self.syntax(match self.tok() {
                    _ if keyword => format!("mismatched input {shown} expecting IDENTIFIER"),
                    _ => format!("no viable alternative at input '.{}'", shown.trim_matches('\'')),
                });
                return Err(Stop);
            }
        };
        self.advance();
        Ok((name, offset))
    }

    /// `(a, b)`, the opening bracket being next.
    fn arguments(&mut self) -> Parse<Vec<Expr>> {
        self.advance();
        let mut args = Vec::new();
        if self.eat(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if !self.eat(",") {
                break;
            }
        }
        self.close_list(")")?;
        Ok(args)
    }

    /// The bracket after a list of expressions: an operator or a comma could stand there as well.
    fn close_list(&mut self, symbol: &'static str) -> Parse<()> {
        let next = self.tokens.get(self.at + 1).map(|t| t.tok);
        let here = self.tok();
        if here == Tok::Sym(symbol) || here == Tok::Eof || next == Some(Tok::Sym(symbol)) {
            return self.close(symbol);
        }
        let shown = self.shown();
        let set = OPERATORS
            .replacen("'[',", &format!("'[', '{symbol}',"), 1)
            .replacen("'.',", "'.', ',',", 1);
        self.syntax(format!("mismatched input {shown} expecting {{{set}}}"));
        Err(Stop)
    }

    fn primary(&mut self) -> Parse<Expr> {
        let offset = self.offset();
        match self.tok() {
            Tok::Sym("(") => {
                self.advance();
                let inner = self.expr()?;
                self.close(")")?;
                Ok(inner)
            }
            Tok::Sym("[") => self.list(offset),
            Tok::Sym("{") => self.map(offset),
            Tok::Sym(".") => {
                self.advance();
                if self.tok() != Tok::Ident {
                    let shown = self.shown();
                    self.syntax(format!("mismatched input {shown} expecting IDENTIFIER"));
                    return Err(Stop);
                }
                self.name(offset, ".")
            }
            Tok::Ident => self.name(offset, ""),
            Tok::Sym("-")
            | Tok::Int
            | Tok::Uint
            | Tok::Float
            | Tok::Str
            | Tok::Bytes
            | Tok::True
            | Tok::False
            | Tok::Null => self.literal_token(offset),
            _ => {
                let shown = self.shown();
                let next = self.tokens.get(self.at + 1).map(|t| t.tok);
                let deletable = self.tok() != Tok::Eof && next.is_some_and(begins);
                let what = if deletable { "extraneous" } else { "mismatched" };
                self.syntax(format!("{what} input {shown} expecting {BEGIN}"));
                Err(Stop)
            }
        }
    }

    fn name(&mut self, offset: u32, dot: &str) -> Parse<Expr> {
        let word = self.text().to_owned();
        let name: Arc<str> = format!("{dot}{word}").into();
        let at = self.offset();
        self.advance();
        let call = self.tok() == Tok::Sym("(");
        if RESERVED.contains(&word.as_str()) && self.tok() != Tok::Sym("{") {
            let args_follow = call.then(|| self.arguments()).transpose()?;
            drop(args_follow);
            return Ok(self.report(offset, format!("reserved identifier: {word}")));
        }
        if !call {
            return Ok(self.new(at, Kind::Ident(name)));
        }
        let id = self.new_id(self.offset());
        let args = self.arguments()?;
        let inner: Vec<Id> = args.iter().map(|a| a.id).collect();
        self.nest(id, 0, &inner)?;
        Ok(self.global(id, &name, args))
    }

    fn literal_token(&mut self, offset: u32) -> Parse<Expr> {
        let negative = self.eat("-");
        let sign = if negative { "-" } else { "" };
        let text = self.text().to_owned();
        let tok = self.tok();
        self.advance();
        let literal = match tok {
            Tok::Int => integer(sign, &text)
                .map(Literal::Int)
                .ok_or("invalid int literal"),
            Tok::Uint => unsigned(&text).map(Literal::Uint).ok_or("invalid uint literal"),
            Tok::Float => match format!("{sign}{text}").parse::<f64>() {
                Ok(f) if f.is_finite() => Ok(Literal::Double(f)),
                _ => Err("invalid double literal"),
            },
            Tok::Str => literal::unquote(&text, false)
                .and_then(|b| String::from_utf8(b).map_err(|_| "unable to unescape string"))
                .map(|s| Literal::String(s.into())),
            Tok::Bytes => literal::unquote(&text, true).map(|b| Literal::Bytes(b.into())),
            Tok::True => Ok(Literal::Bool(true)),
            Tok::False => Ok(Literal::Bool(false)),
            _ => Ok(Literal::Null),
        };
        Ok(match literal {
            Ok(literal) => self.literal(offset, literal),
            Err(message) => self.report(offset, message),
        })
    }

    /// After the bracket of a list or map: a lone comma is allowed, the end is not.
    fn opened(&mut self, open: &str, close: &'static str) -> Parse<()> {
        let next = self.tokens.get(self.at + 1).map(|t| t.tok);
        if self.tok() == Tok::Sym(",") && next == Some(Tok::Sym(close)) {
            self.advance();
        }
        if self.tok() == Tok::Eof {
            let brackets = if open == "[" {
                "'[', ']', '{'"
            } else {
                "'[', '{', '}'"
            };
            let rest = BEGIN.trim_start_matches("{'[', '{', '(', '.', '-', '!', ");
            self.syntax(format!(
                "mismatched input '<EOF>' expecting {{{brackets}, '(', '.', ',', '-', '!', '?', {rest}"
            ));
            return Err(Stop);
        }
        Ok(())
    }

    fn list(&mut self, offset: u32) -> Parse<Expr> {
        self.advance();
        self.opened("[", "]")?;
        let id = self.new_id(offset);
        let mut items = Vec::new();
        let mut optional = Vec::new();
        while self.tok() != Tok::Sym("]") && self.tok() != Tok::Eof {
            if self.eat("?") {
                optional.push(items.len());
            }
            items.push(self.expr()?);
            if !self.eat(",") {
                break;
            }
        }
        self.close_list("]")?;
        let inner: Vec<Id> = items.iter().map(|i| i.id).collect();
        self.nest(id, 0, &inner)?;
        Ok(Expr {
            id,
            kind: Kind::List { items, optional },
        })
    }

    fn map(&mut self, offset: u32) -> Parse<Expr> {
        self.advance();
        self.opened("{", "}")?;
        let id = self.new_id(offset);
        let mut entries = Vec::new();
        let mut inner = Vec::new();
        while self.tok() != Tok::Sym("}") && self.tok() != Tok::Eof {
            let optional = self.eat("?");
            let key = self.expr()?;
            self.close(":")?;
            let value = self.expr()?;
            inner.extend([key.id, value.id]);
            entries.push(Entry { key, value, optional });
            if !self.eat(",") {
                break;
            }
        }
        self.close_list("}")?;
        self.nest(id, 0, &inner)?;
        Ok(Expr {
            id,
            kind: Kind::Map(entries),
        })
    }

    fn message(&mut self, name: &Expr, offset: u32) -> Parse<Expr> {
        let name: Arc<str> = name.qualified_name().ok_or(Stop)?.into();
        self.advance();
        let id = self.new_id(offset);
        let mut fields = Vec::new();
        let mut inner = Vec::new();
        while self.tok() != Tok::Sym("}") && self.tok() != Tok::Eof {
            let optional = self.eat("?");
            let (field, _) = self.field_name()?;
            let colon = self.offset();
            self.close(":")?;
            let field_id = self.new_id(colon);
            let value = self.expr()?;
            inner.push(value.id);
            fields.push(Field {
                id: field_id,
                name: field,
                value,
                optional,
            });
            if !self.eat(",") {
                break;
            }
        }
        self.close_list("}")?;
        self.nest(id, 0, &inner)?;
        Ok(Expr {
            id,
            kind: Kind::Struct { name, fields },
        })
    }

    /// For the macros: an error at the place of an expression.
    pub(super) fn found_at(&self, id: Id, message: impl Into<String>) -> Found {
        (self.offsets.get(id as usize).copied(), message.into())
    }
}

fn begins(tok: Tok) -> bool {
    match tok {
        Tok::Sym(s) => matches!(s, "[" | "{" | "(" | "." | "-" | "!"),
        Tok::In | Tok::Eof | Tok::EscIdent => false,
        _ => true,
    }
}

fn integer(sign: &str, text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
        None => format!("{sign}{text}").parse().ok(),
    }
}

fn unsigned(text: &str) -> Option<u64> {
    let text = &text[..text.len() - 1];
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
