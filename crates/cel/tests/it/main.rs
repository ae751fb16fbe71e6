//! The engine against upstream's answers.

mod hostile;
mod structural;
mod table;
