// Package serial is the driver for instruments on serial lines: lines of text, or frames of bytes,
// over a serial port or a serial server.
//
// A link is one line. A device is one instrument on it; several may share the
// port when their requests carry an address. A point is a field of a line. A line
// is what ends with the link's terminator; an empty one counts for nothing.
//
// # Devices
//
// A device names its requests, the lines that it sends unasked, and its writes:
//
//	vars: {addr: "01"}
//	requests:
//	  measure: {send: "#{addr}MEAS?", expect: "^#{addr} T=(?P<temp>\\S+) H=(\\S+)$"}
//	  status:  {send: "#{addr}STAT?", expect: "^#{addr} ", split: " "}
//	writes:
//	  setpoint: {send: "#{addr}SP {value:.1f}", expect: "^#{addr} OK$", refuse: "^#{addr} ERR"}
//
// or, for an instrument that speaks by itself,
//
//	lines:
//	  weight: {expect: "^W (?P<kg>[0-9.]+)$"}
//
// In send, {name} is a variable of vars, {value} what is written, and {{ and }} are braces. The
// terminator is added. In expect and refuse, which are regular expressions in the syntax of
// package regexp, {name} is a variable too and matches as it is written; {2,3}, \{, \p{Greek}
// and \x{7F} keep their meaning. {value} may have a format as in fmt: {value:05.1f}, {value:d},
// {value:X}. The gateway fills in its own placeholders, such as {n} in a range, before the
// driver sees anything, so a variable is better not named n, d or l.
//
// Frames that are no lines of text, checksums and fields of bytes are in docs/config.md; binary
// types stand in an address in the place of the text types.
//
// A field is a group of expect, by name or number, or with split a column, counted from 1; 0 is
// the whole line. A split of " " is any run of white space.
//
// # Addresses
//
//	address = source ":" field [ ":" type ] [ SP "set=" write ]
//	        | [ type SP ] "set=" write .
//	type    = "number" | "integer" | "text" | "bool" | "hex" .
//
// Source is the name of a request or line, write that of a write. Examples:
//
//	measure:temp
//	measure:2:number
//	status:3:text
//	measure:temp set=setpoint
//	bool set=output
//
// The type is number by default, a float64. Integer is an int64 (uint64 above its range), hex a
// uint64. Bool takes 1, 0, true, false, on and off, and writes 1 and 0.
//
// A device is either polled or listens: its points are of requests or of lines. An
// instrument that does both is two devices on the same link.
//
// # Which line is the answer
//
// There is one request on the line at a time. Its answer is the first line that begins after
// the request was sent, ends before the deadline and matches expect. A line that matches refuse
// instead is the instrument's refusal. Every other line, at any time, goes to the listening
// devices of the link, to each whose expect it matches, and to nobody if there is none; so an
// answer reaches no listener, and an unasked line is no answer unless it looks like one.
//
// An answer that comes too late must not be taken for that of the next request. So after a
// time-out the next request waits until the late line came, or for as long as late says; unless
// expect tells them apart by the text that they begin with, as in "^#{addr} ". An instrument
// that answers later than that can be told from others by its expect only. A line that began
// before the request, a byte a second say, is never an answer; nor is one longer than max_line,
// which is thrown away up to its terminator.
//
// A request that timed out is asked last at the next poll, so that one request that
// an instrument does not know costs the others nothing; a poll whose first request
// times out ends there, so that a dead instrument costs one time-out.
//
// A write with neither expect nor refuse is done when the port has taken it.
//
// Lines that come faster than the gateway takes them, or that are longer than max_line, are
// lost, and a gap tells of them.
package serial
