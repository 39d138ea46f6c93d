//! The full interpreter of unwind rows: all registers, all expressions that compilers and hand-written assembly use.
//!
//! Slow (a microsecond or two a frame) and complete. The walk asks it for the rows that do not fit a compiled rule. It never
//! allocates, and reads memory only through the reader it is given. Deliberately not here: deciding what may be read.

use super::cfi::{Cfa, ENCODING, ExpressionAt, Found, LastRow, Saved};
use super::machine::{LINK, REGISTER_COUNT, RETURN_ADDRESS, SP};
use gimli::Operation;

/// Most values an expression may have on its stack.
const EXPRESSION_STACK_MAX: usize = 8;

/// The registers of one frame, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    values: [usize; REGISTER_COUNT],
    known: u64,
}

impl Registers {
    /// None is known.
    pub(super) const NOTHING: Self = Self { values: [0; REGISTER_COUNT], known: 0 };

    pub(super) fn get(&self, register: usize) -> Option<usize> {
        let value = self.values.get(register)?;
        (self.known >> register & 1 == 1).then_some(*value)
    }

    pub(super) fn set(&mut self, register: usize, value: Option<usize>) {
        if let Some(slot) = self.values.get_mut(register) {
            *slot = value.unwrap_or(0);
            self.known = self.known & !(1 << register) | u64::from(value.is_some()) << register;
        }
    }
}

/// Why there is no caller's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The return address is undefined: the outermost frame.
    Root,
    /// The row needs a register whose value is not known.
    UnknownRegister,
    /// The row needs memory that the reader refuses.
    Unreadable,
    /// The row uses what this interpreter does not have.
    Unsupported,
}

/// Turns the registers of a frame into those of its caller. Returns the slot of the return address, or where that is in a register, the
/// one right below the CFA.
pub(super) fn step(
    found: &Found,
    registers: &mut Registers,
    read: &mut impl FnMut(usize) -> Option<usize>,
) -> Result<usize, Stop> {
    let row = &found.row;
    if row.registers[RETURN_ADDRESS] == Saved::Undefined {
        return Err(Stop::Root);
    }
    let cfa = match row.cfa {
        Cfa::Register { register, offset } => {
            registers.get(usize::from(register)).ok_or(Stop::UnknownRegister)?.wrapping_add_signed(offset as isize)
        }
        Cfa::Expression(expression) => evaluate(found, expression, None, registers, read)?,
    };
    let mut caller = *registers;
    caller.set(SP, Some(cfa));

    let mut slot = None;
    for (number, &saved) in row.registers.iter().enumerate() {
        let address = match saved {
            Saved::At(offset) => cfa.wrapping_add_signed(offset as isize),
            Saved::AtExpression(expression) => match evaluate(found, expression, Some(cfa), registers, read) {
                Ok(address) => address,
                Err(stop) if number == RETURN_ADDRESS || number == SP => return Err(stop),
                Err(_) => {
                    caller.set(number, None);
                    continue;
                }
            },
            Saved::Unchanged => continue,
            Saved::Undefined => {
                caller.set(number, None);
                continue;
            }
            Saved::Is(offset) => {
                caller.set(number, Some(cfa.wrapping_add_signed(offset as isize)));
                continue;
            }
            Saved::InRegister(other) => {
                let value = registers.get(usize::from(other));
                if number == RETURN_ADDRESS {
                    value.ok_or(Stop::UnknownRegister)?;
                    slot = Some(cfa.wrapping_sub(8));
                }
                caller.set(number, value);
                continue;
            }
            Saved::IsExpression(expression) => {
                caller.set(number, evaluate(found, expression, Some(cfa), registers, read).ok());
                continue;
            }
        };
        let value = read(address);
        if value.is_none() && number == RETURN_ADDRESS {
            return Err(Stop::Unreadable);
        }
        if number == RETURN_ADDRESS {
            slot = Some(address);
        }
        caller.set(number, value);
    }
    if let Some(link) = LINK
        && !row.is_signal_frame
    {
        // The call itself has overwritten it.
        caller.set(link, None);
    }
    *registers = caller;
    slot.ok_or(Stop::Unsupported)
}

/// Evaluates an expression of `.eh_frame`; `initial` is the CFA where the standard wants it on the stack.
fn evaluate(
    found: &Found,
    expression: ExpressionAt,
    initial: Option<usize>,
    registers: &Registers,
    read: &mut impl FnMut(usize) -> Option<usize>,
) -> Result<usize, Stop> {
    let mut stack = Stack { values: [0; EXPRESSION_STACK_MAX], count: 0 };
    if let Some(initial) = initial {
        stack.push(initial)?;
    }
    let mut operations = found.expression(expression).ok_or(Stop::Unsupported)?.operations(ENCODING);
    while let Some(operation) = operations.next().map_err(|_| Stop::Unsupported)? {
        match operation {
            Operation::RegisterOffset { register, offset, .. } => {
                let value = registers.get(usize::from(register.0)).ok_or(Stop::UnknownRegister)?;
                stack.push(value.wrapping_add_signed(offset as isize))?;
            }
            Operation::Deref { size: 8, space: false, .. } => {
                let address = stack.pop()?;
                stack.push(read(address).ok_or(Stop::Unreadable)?)?;
            }
            Operation::PlusConstant { value } => {
                let sum = stack.pop()?.wrapping_add(value as usize);
                stack.push(sum)?;
            }
            Operation::UnsignedConstant { value } => stack.push(value as usize)?,
            Operation::SignedConstant { value } => stack.push(value as usize)?,
            Operation::Plus => stack.binary(usize::wrapping_add)?,
            Operation::Minus => stack.binary(usize::wrapping_sub)?,
            Operation::And => stack.binary(|a, b| a & b)?,
            Operation::Or => stack.binary(|a, b| a | b)?,
            Operation::Xor => stack.binary(|a, b| a ^ b)?,
            Operation::Mul => stack.binary(usize::wrapping_mul)?,
            Operation::Shl => stack.binary(|a, b| if b < 64 { a << b } else { 0 })?,
            Operation::Shr => stack.binary(|a, b| if b < 64 { a >> b } else { 0 })?,
            Operation::Eq => stack.binary(|a, b| usize::from(a == b))?,
            Operation::Ne => stack.binary(|a, b| usize::from(a != b))?,
            Operation::Ge => stack.binary(|a, b| usize::from(a as isize >= b as isize))?,
            Operation::Gt => stack.binary(|a, b| usize::from(a as isize > b as isize))?,
            Operation::Le => stack.binary(|a, b| usize::from(a as isize <= b as isize))?,
            Operation::Lt => stack.binary(|a, b| usize::from((a as isize) < b as isize))?,
            Operation::Nop => {}
            _ => return Err(Stop::Unsupported),
        }
    }
    stack.pop()
}

struct Stack {
    values: [usize; EXPRESSION_STACK_MAX],
    count: usize,
}

impl Stack {
    fn push(&mut self, value: usize) -> Result<(), Stop> {
        *self.values.get_mut(self.count).ok_or(Stop::Unsupported)? = value;
        self.count += 1;
        Ok(())
    }

    fn pop(&mut self) -> Result<usize, Stop> {
        self.count = self.count.checked_sub(1).ok_or(Stop::Unsupported)?;
        self.values.get(self.count).copied().ok_or(Stop::Unsupported)
    }

    fn binary(&mut self, operation: impl FnOnce(usize, usize) -> usize) -> Result<(), Stop> {
        let (right, left) = (self.pop()?, self.pop()?);
        self.push(operation(left, right))
    }
}

/// An expression of the form "register + offset" or "the word at register + offset".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Simple {
    pub(super) register: usize,
    pub(super) offset: i64,
    pub(super) dereferenced: bool,
}

/// The expression in its simple form, if it has one.
pub(super) fn simple(found: &Found, expression: ExpressionAt) -> Option<Simple> {
    let mut operations = found.expression(expression)?.operations(ENCODING);
    let Operation::RegisterOffset { register, offset, .. } = operations.next().ok()?? else {
        return None;
    };
    let dereferenced = match operations.next().ok()? {
        None => false,
        Some(Operation::Deref { size: 8, space: false, .. }) => operations.next().ok()?.is_none().then_some(true)?,
        Some(_) => return None,
    };
    Some(Simple { register: usize::from(register.0), offset, dereferenced })
}

/// The row at `pc` applied to `registers`; see [`step`].
pub(super) fn step_at(
    pc: usize,
    rows: &mut LastRow,
    registers: &mut Registers,
    read: &mut impl FnMut(usize) -> Option<usize>,
) -> Result<Stepped, Stop> {
    let found = rows.row_at(pc).ok_or(Stop::Unsupported)?;
    let slot = step(&found, registers, read)?;
    Ok(Stepped { slot, exact: found.row.is_signal_frame })
}

/// A caller's frame was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stepped {
    /// Where its return address was read.
    pub(super) slot: usize,
    /// Its address is exact, not one past a call.
    pub(super) exact: bool,
}
