// Package modbus is the Modbus driver: coils, discrete inputs, holding and input registers of any
// number of units on one line. It builds on goburrow/modbus for the frames and the write
// functions, and brings a transport of its own.
//
// A request or an answer is a PDU: a function code and its data. A framing makes frames of PDUs
// and finds them in what arrives: mbap, rtu or ascii. A carrier (package carrier) moves the
// bytes: TCP, TLS, UDP, a serial port or a serial server. A wire is one open connection with
// its requests in flight; a line is a link's way to its devices, which has at most one wire at a
// time, opens it when a call needs it and again when it has ended, and keeps the silence
// between two requests.
//
// An answer is one only where it is of the unit and the function that were asked and has the
// size that follows from the request; over MBAP it has the transaction id of the request, over
// RTU and ASCII a good checksum. On a serial line noise, an echo of the request and answers of
// others are passed over, and after a wait in vain a request whose answer the late one could be
// taken for waits for it. A write is sent once, whatever happens; a read whose connection ends
// before the first byte of its answer is asked once more on another connection.
//
// A register is 16 bits, a coil or a discrete input one bit, a unit one device behind the
// connection. Clause numbers in comments are those of the Modbus Application Protocol
// Specification V1.1b3.
//
// # Addresses
//
// The grammar, in EBNF:
//
//	address = place [ "." bits ] [ ":" type ] [ ":" order ] | own .
//	own     = "status" | "events" | "server-id" | "diag:" number | "id:" number | "fifo:" number
//	        | "file:" number ":" number [ ":" type ] [ ":" order ] .
//	place   = table ":" number | classic .
//	table   = "coil" | "discrete" | "input" | "holding" .
//	number  = digit { digit } | "0x" hexdigit { hexdigit } .   (* 0 to 65535 *)
//	classic = ( "0" | "1" | "3" | "4" ) number4or5 .           (* 5 or 6 digits in all *)
//	bits    = bit [ "-" bit ] .                                (* the lowest first *)
//	bit     = digit [ digit ] .                                (* 0 to 15, 0 is the least significant *)
//	type    = "bool" | "int" | "uint" | "int8" | "int8l" | "int8h" | "uint8" | "uint8l" | "uint8h"
//	        | "int16" | "uint16" | "int24" | "uint24" | "int32" | "uint32" | "int48" | "uint48"
//	        | "int64" | "uint64" | "float32" | "float64" | "bcd16" | "bcd32"
//	        | "epoch32" | "epoch64" | "epoch64ms" | "cp56"
//	        | ( "string" | "utf8" | "ascii" | "latin1" | "bytes" ) ":" size .
//	size    = digit { digit } .                                (* bytes: 1 to 250 *)
//	order   = "abcd" | "dcba" | "badc" | "cdab" .
//
// A number is the protocol address, which counts from 0. A classic address is a digit for the
// table (0 coil, 1 discrete input, 3 input register, 4 holding register) and a number of four
// or five digits that counts from 1: 40101 and 400101 are holding:100, 00001 is coil:0.
//
// The type of a coil or a discrete input is bool; a register's default is uint16. A bit has the
// type bool. A register read as bool is true when it is not 0, and is written as 1 or 0.
//
// Several bits are a number: uint, the default, or int, whose highest bit is the sign (two's
// complement). int8h and uint8h are the upper byte of a register, int8l and uint8l, or int8 and
// uint8, the lower one. Bits and bytes are written by function 22 or by read-modify-write, as
// the device's write_bit says, and what lies beside them stays.
//
// int24 and uint24 are the lower 24 bits of two registers: what the upper 8 hold is not read,
// and is written as the sign or 0. int48 and uint48 are three registers. bcd16 and bcd32 hold a
// decimal digit in every four bits (8421 BCD).
//
// A text takes two bytes of each register, the first in the upper half. It ends at its first
// zero byte, whatever lies behind, and spaces at its end are padding; it is written with zero
// bytes to its full size. string (or utf8) is UTF-8 (RFC 3629), ascii the 7 bits of ISO 646,
// latin1 ISO 8859-1.
//
// # Functions of their own
//
// Some data of a unit lie in no table, and each of them is a request of its own in every poll:
//
//	status      the exception status, 8 bits as a number (clause 6.7)
//	diag:11     a counter of the diagnostics, sub-functions 11 to 18 (clause 6.8)
//	events      the event counter (clause 6.9)
//	server-id   what a unit says of itself, as bytes (clause 6.13)
//	file:4:1    record 1 of file 4, and as many more as the type takes; it can be written
//	            (clauses 6.14 and 6.15)
//	fifo:1246   the registers of a queue, as a text with commas (clause 6.18)
//	id:0        an object of the device identification, as a text (clause 6.21)
//
// The specification has status, diag, events and server-id on serial lines only; where a device
// has none, its exception says so.
//
// # Times
//
// A time is a text. epoch32 (unsigned) and epoch64 (signed) count the seconds since
// 1970-01-01T00:00:00Z as POSIX does, epoch64ms the milliseconds: they are read and written as
// RFC 3339 has it, and read in UTC.
//
// cp56 is the CP56Time2a of IEC 60870-5-101, clause 7.2.6.18, in four registers: a number of 56
// bits, its first octet the least significant, and a byte 0 above it.
//
//	abcd  year | month, day | hour, minute | milliseconds, one register each
//	dcba  the octets in the order in which IEC 60870 sends them
//
// It has no zone, and so has its text: 2026-12-01T06:30:00.125. Its years are 2000 to 2099. Its
// day of the week, its bit for summer time and its reserved bits are not read, and are written
// as 0.
//
// # What is no value
//
// A digit of BCD above 9, bytes that are not of a text's character set, a CP56Time2a that is
// marked as invalid or is no date, a count of seconds beyond the year 9999: such a sample is
// Bad, and its fault says what came.
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
