//! The type checker: every expression gets a type, every call its overloads. After cel-go's `checker/checker.go`.

pub(crate) mod ast;
mod build;
mod call;
mod fold;
mod unify;
mod validate;

use crate::env::Shared;
use crate::errors::CompileErrors;
use crate::escape::unescape;
use crate::library::Function;
use crate::parse::ast::{Expr, Id, Kind, Literal, Parsed};
use crate::program::Program;
use crate::types::Type;
use std::collections::HashMap;
use std::sync::Arc;
use unify::{Mapping, most_general};

/// Checks and resolves a parsed expression.
pub(crate) fn check(shared: &Arc<Shared>, source: &str, parsed: Parsed) -> Result<Program, CompileErrors> {
    let mut checker = Checker {
        shared,
        offsets: &parsed.offsets,
        types: vec![None; parsed.offsets.len()],
        resolved: HashMap::new(),
        scopes: Vec::new(),
        mapping: Mapping::default(),
        free: 0,
        errors: Vec::new(),
    };
    checker.check(&parsed.root);
    if checker.errors.is_empty() {
        checker.validate(&parsed.root);
    }
    if !checker.errors.is_empty() {
        return Err(CompileErrors::new(source, checker.errors));
    }
    Ok(checker.build(&parsed.root))
}

/// What a name or call turned out to be.
enum Resolved {
    Variable(Arc<str>),
    /// A variable of the fold that is this deep.
    Local(u16),
    TypeName(Type),
    Call(&'static Function, Vec<&'static str>, bool),
    /// `a.?b`.
    OptionalSelect,
}

struct Checker<'c> {
    shared: &'c Arc<Shared>,
    offsets: &'c [u32],
    types: Vec<Option<Type>>,
    resolved: HashMap<Id, Resolved>,
    /// Names and types of fold variables, innermost last. The index is the slot.
    scopes: Vec<(Arc<str>, Type)>,
    mapping: Mapping,
    free: usize,
    errors: Vec<crate::parse::Found>,
}

impl Checker<'_> {
    fn check(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::Literal(literal) => self.set(expr, literal_type(literal)),
            Kind::Ident(name) => self.ident(expr, name),
            Kind::Select {
                operand,
                field,
                test_only,
            } => self.select(expr, operand, field, *test_only),
            Kind::Call {
                function,
                target,
                args,
            } => self.call(expr, function, target.as_deref(), args),
            Kind::List { items, optional } => self.list(expr, items, optional),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct { name, fields } => self.message(expr, name, fields),
            Kind::Fold(fold) => self.fold(expr, fold),
            Kind::Missing => self.set(expr, Type::Error),
        }
    }

    fn set(&mut self, expr: &Expr, ty: Type) {
        self.types[expr.id as usize] = Some(ty);
    }

    fn type_of(&self, expr: &Expr) -> Type {
        self.types[expr.id as usize].clone().unwrap_or(Type::Error)
    }

    fn error(&mut self, id: Id, message: String) {
        self.errors
            .push((self.offsets.get(id as usize).copied(), message));
    }

    fn undeclared(&mut self, expr: &Expr, name: &str) {
        self.error(
            expr.id,
            format!("undeclared reference to '{name}' (in container '')"),
        );
        self.set(expr, Type::Error);
    }

    fn mismatch(&mut self, at: &Expr, expected: &Type, actual: &Type) {
        let expected = self.mapping.substitute(expected, false);
        let message = format!("expected type '{expected}' but found '{actual}'");
        self.error(at.id, message);
    }

    fn free_variable(&mut self) -> Type {
        let name = format!("_var{}", self.free);
        self.free += 1;
        Type::Param(name.into())
    }

    /// What a name means: a fold's variable, a variable of the environment, or a type.
    fn lookup(&self, name: &str) -> Option<(Resolved, Type)> {
        let plain = name.strip_prefix('.').unwrap_or(name);
        if plain.len() == name.len()
            && let Some(slot) = self.scopes.iter().rposition(|(n, _)| &**n == name)
        {
            let ty = self.scopes[slot].1.clone();
            return Some((Resolved::Local(slot as u16), ty));
        }
        if let Some((name, ty)) = self.shared.variable(plain) {
            return Some((Resolved::Variable(name.clone()), ty.clone()));
        }
        let ty = self.shared.type_named(plain)?;
        Some((Resolved::TypeName(ty.clone()), Type::type_of(ty)))
    }

    fn ident(&mut self, expr: &Expr, name: &str) {
        match self.lookup(name) {
            Some((resolved, ty)) => {
                self.resolved.insert(expr.id, resolved);
                self.set(expr, ty);
            }
            None => self.undeclared(expr, name),
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test_only: bool) {
        if let Some(name) = expr.qualified_name()
            && let Some((resolved, ty)) = self.lookup(&name)
        {
            self.resolved.insert(expr.id, resolved);
            self.set(expr, ty);
            return;
        }
        let mut ty = self.field_of(expr, operand, field, false);
        if test_only {
            ty = Type::Bool;
        }
        let ty = self.mapping.substitute(&ty, false);
        self.set(expr, ty);
    }

    /// The type of `operand.field`.
    fn field_of(&mut self, expr: &Expr, operand: &Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let operand_type = self.mapping.substitute(&self.type_of(operand), false);
        let target = operand_type.optional_inner().unwrap_or(&operand_type);
        let result = match target {
            Type::Map(m) => m.1.clone(),
            Type::Object(name) => self.object_field(expr.id, name, field).unwrap_or(Type::Error),
            Type::Param(_) => {
                self.mapping.assign(&Type::Dyn, target);
                Type::Dyn
            }
            other => {
                if !other.is_dyn_or_error() {
                    self.error(
                        expr.id,
                        format!("type '{other}' does not support field selection"),
                    );
                }
                Type::Dyn
            }
        };
        if optional || operand_type.optional_inner().is_some() {
            return Type::optional(result);
        }
        result
    }

    fn object_field(&mut self, id: Id, type_name: &str, field: &str) -> Option<Type> {
        let Some(provider) = self.shared.provider_of(type_name) else {
            self.error(id, format!("unexpected failed resolution of '{type_name}'"));
            return None;
        };
        let found = unescape(field).and_then(|property| provider.field(type_name, &property));
        if found.is_none() {
            self.error(id, format!("undefined field '{field}'"));
        }
        found
    }

    /// The type that holds both, for elements of one literal. That they must be alike is checked afterwards.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else { return current };
        if self.mapping.assign(&previous, &current) {
            return most_general(&previous, &current).clone();
        }
        Type::Dyn
    }

    fn assert(&mut self, expr: &Expr, expected: &Type) {
        let actual = self.type_of(expr);
        if !self.mapping.assign(expected, &actual) {
            self.mismatch(expr, expected, &actual);
        }
    }

    /// `T` of an optional element's `optional_type(T)`.
    fn unwrap_optional(&mut self, expr: &Expr, ty: Type) -> Type {
        if let Some(inner) = ty.optional_inner() {
            return inner.clone();
        }
        if !ty.is_dyn() {
            self.mismatch(expr, &Type::optional(ty.clone()), &ty);
        }
        ty
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
