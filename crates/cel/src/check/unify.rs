//! Which types agree, and what free type variables stand for. After cel-go's `checker/types.go`.

use crate::types::{ListSemantics, Type};
use std::collections::HashMap;
use std::sync::Arc;

/// What type variables stand for so far.
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    known: HashMap<Arc<str>, Type>,
    /// What has been bound since a trial began, and what it was before.
    undo: Vec<(Arc<str>, Option<Type>)>,
}

impl Mapping {
    fn find(&self, ty: &Type) -> Option<&Type> {
        match ty {
            Type::Param(name) => self.known.get(name),
            _ => None,
        }
    }

    fn add(&mut self, param: &Type, ty: Type) {
        if let Type::Param(name) = param {
            let before = self.known.insert(name.clone(), ty);
            self.undo.push((name.clone(), before));
        }
    }

    /// Whether `a` can be used as `b`; if so, variables are bound accordingly.
    pub fn assign(&mut self, a: &Type, b: &Type) -> bool {
        self.assign_all(std::slice::from_ref(a), std::slice::from_ref(b))
    }

    pub fn assign_all(&mut self, a: &[Type], b: &[Type]) -> bool {
        let fits = self.all_assignable(a, b);
        while let Some((name, before)) = self.undo.pop() {
            match before {
                _ if fits => {}
                Some(ty) => {
                    self.known.insert(name, ty);
                }
                None => {
                    self.known.remove(&name);
                }
            }
        }
        fits
    }

    fn all_assignable(&mut self, a: &[Type], b: &[Type]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.assignable(a, b))
    }

    fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        if matches!(b, Type::Param(_)) {
            let (valid, known) = self.substitutes(a, b);
            if valid || known {
                return valid;
            }
        }
        if matches!(a, Type::Param(_)) {
            return self.substitutes(b, a).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::Type(_), _) => matches!(b, Type::Type(_)),
            (Type::Opaque(x), Type::Opaque(y)) => x.0 == y.0 && self.all_assignable(&x.1, &y.1),
            (Type::List(x), Type::List(y)) => self.assignable(&x.element, &y.element),
            (Type::Map(x), Type::Map(y)) => self.assignable(&x.0, &y.0) && self.assignable(&x.1, &y.1),
            _ => a == b,
        }
    }

    /// Whether `param` can stand for `ty`, and whether it already stood for something.
    fn substitutes(&mut self, ty: &Type, param: &Type) -> (bool, bool) {
        if ty == param {
            return (true, true);
        }
        if let Some(known) = self.find(param).cloned() {
            if *ty == known {
                return (true, true);
            }
            if self.assignable(ty, &known) {
                let general = most_general(ty, &known).clone();
                if self.not_within(param, &general) {
                    self.add(param, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.not_within(param, ty) {
            self.add(param, ty.clone());
            return (true, false);
        }
        (false, false)
    }

    fn not_within(&self, param: &Type, ty: &Type) -> bool {
        if param == ty {
            return false;
        }
        match ty {
            Type::Param(_) => self.find(ty).is_none_or(|t| self.not_within(param, t)),
            Type::Opaque(o) => o.1.iter().all(|t| self.not_within(param, t)),
            Type::List(l) => self.not_within(param, &l.element),
            Type::Map(m) => self.not_within(param, &m.0) && self.not_within(param, &m.1),
            Type::Type(t) => self.not_within(param, t),
            _ => true,
        }
    }

    /// The type with variables replaced; unbound ones by dyn if `to_dyn`.
    pub fn substitute(&self, ty: &Type, to_dyn: bool) -> Type {
        if let Some(known) = self.find(ty) {
            return self.substitute(known, to_dyn);
        }
        match ty {
            Type::Param(_) if to_dyn => Type::Dyn,
            Type::Opaque(o) if !o.1.is_empty() => {
                let inner = o.1.iter().map(|t| self.substitute(t, to_dyn)).collect();
                Type::opaque(&o.0, inner)
            }
            // A list whose semantics the schema declares has no variables in it.
            Type::List(l) if l.semantics == ListSemantics::Atomic => {
                Type::list(self.substitute(&l.element, to_dyn))
            }
            Type::Map(m) => Type::map(self.substitute(&m.0, to_dyn), self.substitute(&m.1, to_dyn)),
            Type::Type(t) => Type::type_of(self.substitute(t, to_dyn)),
            _ => ty.clone(),
        }
    }
}

fn nullable(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Null | Type::Opaque(_) | Type::Object(_) | Type::Duration | Type::Timestamp
    )
}

pub(crate) fn most_general<'t>(a: &'t Type, b: &'t Type) -> &'t Type {
    if less_specific(a, b) { a } else { b }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    if matches!(a, Type::Dyn | Type::Param(_)) {
        return true;
    }
    if matches!(b, Type::Dyn | Type::Param(_)) {
        return false;
    }
    match (a, b) {
        (Type::Opaque(x), Type::Opaque(y)) => {
            x.0 == y.0 && x.1.len() == y.1.len() && x.1.iter().zip(&y.1).all(|(a, b)| less_specific(a, b))
        }
        (Type::List(x), Type::List(y)) => less_specific(&x.element, &y.element),
        (Type::Map(x), Type::Map(y)) => less_specific(&x.0, &y.0) && less_specific(&x.1, &y.1),
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}
