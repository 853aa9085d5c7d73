// Package modbus is the Modbus TCP driver: coils, discrete inputs, holding and input registers
// of any number of units over one connection. It builds on goburrow/modbus for the frames and
// the write functions, and brings a transport of its own (see wire.go).
//
// A register is 16 bits, a coil or a discrete input one bit, a unit one device behind the
// connection. Clause numbers in comments are those of the Modbus Application Protocol
// Specification V1.1b3.
//
// # Addresses
//
// The grammar, in EBNF:
//
//	address = place [ "." bit ] [ ":" type ] [ ":" order ] .
//	place   = table ":" number | classic .
//	table   = "coil" | "discrete" | "input" | "holding" .
//	number  = digit { digit } | "0x" hexdigit { hexdigit } .   (* 0 to 65535 *)
//	classic = ( "0" | "1" | "3" | "4" ) number4or5 .           (* 5 or 6 digits in all *)
//	bit     = digit [ digit ] .                                (* 0 to 15, 0 is the least significant *)
//	type    = "bool" | "int16" | "uint16" | "int32" | "uint32" | "int64" | "uint64"
//	        | "float32" | "float64" | "string" ":" size | "bytes" ":" size .
//	size    = digit { digit } .                                (* bytes: 1 to 250 *)
//	order   = "abcd" | "dcba" | "badc" | "cdab" .
//
// A number is the protocol address, which counts from 0. A classic address is a digit for the
// table (0 coil, 1 discrete input, 3 input register, 4 holding register) and a number of four
// or five digits that counts from 1: 40101 and 400101 are holding:100, 00001 is coil:0.
//
// The type of a coil or a discrete input is bool; a register's default is uint16. A bit has the
// type bool. A register read as bool is true when it is not 0, and is written as 1 or 0. A
// string is text in UTF-8 up to its first zero byte, a register holds two bytes of it, the
// first in the upper half; it is written with zero bytes to its full size.
//
// # Orders
//
// The order says in which order the bytes of a value come over the wire, A being
// the most significant. It holds for reading and writing alike, and is generalised
// to 64 and 16 bits, to bits and to text by what it does: dcba and cdab reverse
// the registers of a number, dcba and badc swap the bytes within each register.
//
//	abcd  AB CD   big-endian, as the specification has it (clause 4.2); the default
//	cdab  CD AB   registers reversed
//	badc  BA DC   bytes swapped
//	dcba  DC BA   both: little-endian
//
// Registers of a string or of bytes are never reversed. An order in an address
// takes precedence over its device's.
package modbus
