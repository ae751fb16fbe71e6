//! Lists compared as sets.

use super::{Answer, Context};
use crate::eval::ops::equal;
use crate::value::Value;

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [left, right] = args else {
        return context.no_overload(args);
    };
    let (Some(left), Some(right)) = (left.list_items(), right.list_items()) else {
        return context.no_overload(args);
    };
    let within =
        |item: &Value<'a>, list: &[Value<'a>]| list.iter().any(|other| equal(item, other, context.shared));
    Ok(Value::Bool(match context.function {
        "sets.contains" => right.iter().all(|item| within(item, &left)),
        "sets.intersects" => right.iter().any(|item| within(item, &left)),
        _ => right.iter().all(|item| within(item, &left)) && left.iter().all(|item| within(item, &right)),
    }))
}
