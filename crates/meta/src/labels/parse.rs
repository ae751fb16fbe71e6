//! The query form of label selectors: a lexer and a descent over its tokens, with upstream's error texts.

use super::requirement::{Operator, Requirement, check_key};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    End,
    Error,
    Identifier,
    Comma,
    Open,
    Close,
    Not,
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
}

type Item = (Token, String);

fn is_special(b: u8) -> bool {
    matches!(b, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

fn lex(text: &str) -> Vec<Item> {
    let (bytes, mut at, mut out) = (text.as_bytes(), 0, Vec::new());
    while let Some(&b) = bytes.get(at) {
        if is_space(b) {
            at += 1;
        } else if is_special(b) {
            let (token, length) = symbol(&bytes[at..]);
            out.push((token, text[at..at + length].to_owned()));
            at += length;
        } else {
            let end = bytes[at..]
                .iter()
                .position(|b| is_special(*b) || is_space(*b))
                .map_or(bytes.len(), |n| at + n);
            let word = &text[at..end];
            let token = match word {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Identifier,
            };
            out.push((token, word.to_owned()));
            at = end;
        }
    }
    out.push((Token::End, String::new()));
    out
}

fn symbol(bytes: &[u8]) -> (Token, usize) {
    match bytes {
        [b'=', b'=', ..] => (Token::DoubleEquals, 2),
        [b'!', b'=', ..] => (Token::NotEquals, 2),
        [b'=', ..] => (Token::Equals, 1),
        [b'!', ..] => (Token::Not, 1),
        [b'(', ..] => (Token::Open, 1),
        [b')', ..] => (Token::Close, 1),
        [b',', ..] => (Token::Comma, 1),
        [b'>', ..] => (Token::Greater, 1),
        [b'<', ..] => (Token::Less, 1),
        _ => (Token::Error, 1),
    }
}

struct Parser {
    items: Vec<Item>,
    position: usize,
}

/// Reads all requirements of a selector.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser {
        items: lex(text),
        position: 0,
    };
    let mut out = Vec::new();
    loop {
        match parser.peek() {
            Token::Identifier | Token::Not => {}
            Token::End => return Ok(out),
            _ => {
                return Err(format!(
                    "found '{}', expected: !, identifier, or 'end of string'",
                    parser.literal()
                ));
            }
        }
        out.push(
            parser
                .requirement()
                .map_err(|e| format!("unable to parse requirement: {e}"))?,
        );
        match parser.next() {
            (Token::End, _) => return Ok(out),
            (Token::Comma, _) if matches!(parser.peek(), Token::Identifier | Token::Not) => {}
            (Token::Comma, _) => {
                return Err(format!(
                    "found '{}', expected: identifier after ','",
                    parser.literal()
                ));
            }
            (_, literal) => return Err(format!("found '{literal}', expected: ',' or 'end of string'")),
        }
    }
}

impl Parser {
    /// The next token where keys and values are expected: `in` and `notin` are words there.
    fn peek(&self) -> Token {
        as_word(self.items[self.position].0)
    }

    fn literal(&self) -> &str {
        &self.items[self.position].1
    }

    fn next(&mut self) -> Item {
        let (token, literal) = self.next_raw();
        (as_word(token), literal)
    }

    fn next_raw(&mut self) -> Item {
        let item = self.items[self.position].clone();
        // The end is never passed, however often it is read.
        self.position = (self.position + 1).min(self.items.len() - 1);
        item
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.next();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next();
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        if let Some(error) = check_key(&key, "<nil>") {
            return Err(error.to_string());
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.value_set()?,
            _ => vec![self.value()?],
        };
        Requirement::new(&key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let (token, literal) = self.next_raw();
        Ok(match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => {
                return Err(format!(
                    "found '{literal}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        })
    }

    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next() {
            (Token::Identifier, literal) => Ok(literal),
            (_, literal) => Err(format!("found '{literal}', expected: identifier")),
        }
    }

    fn value_set(&mut self) -> Result<Vec<String>, String> {
        let (token, literal) = self.next();
        if token != Token::Open {
            return Err(format!("found '{literal}' expected: '('"));
        }
        let first = self.literal().to_owned();
        match self.peek() {
            Token::Close => {
                self.next();
                Ok(vec![String::new()])
            }
            Token::Identifier | Token::Comma => {
                let values = self.value_list()?;
                match self.next() {
                    (Token::Close, _) => Ok(values),
                    _ => Err(format!("found '{first}', expected: ')'")),
                }
            }
            _ => Err(format!("found '{first}', expected: ',', ')' or identifier")),
        }
    }

    /// Values between commas; an empty one counts. Stops before the closing parenthesis.
    fn value_list(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            match self.next() {
                (Token::Identifier, literal) => {
                    values.push(literal);
                    match self.peek() {
                        Token::Comma => {}
                        Token::Close => return Ok(values),
                        _ => return Err(format!("found '{}', expected: ',' or ')'", self.literal())),
                    }
                }
                (Token::Comma, _) => {
                    let next = self.peek();
                    if values.is_empty() || matches!(next, Token::Close | Token::Comma) {
                        values.push(String::new());
                    }
                    if next == Token::Close {
                        return Ok(values);
                    }
                }
                (_, literal) => return Err(format!("found '{literal}', expected: ',', or identifier")),
            }
        }
    }
}

fn as_word(token: Token) -> Token {
    if matches!(token, Token::In | Token::NotIn) {
        Token::Identifier
    } else {
        token
    }
}
