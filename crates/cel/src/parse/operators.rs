//! Operators, from the conditional down to signs.

use super::ast::{Expr, Id, Kind};
use super::lex::Tok;
use super::{BEGIN, Parse, Parser, Rule, Stop};
use std::sync::Arc;

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parse<Expr> {
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
        if let Some((first, rest)) = ids.split_first() {
            self.nest(*first, 0, &inner)?;
            for id in rest {
                self.nest(*id, 0, &[*first])?;
            }
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
