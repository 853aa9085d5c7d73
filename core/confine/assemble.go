package confine

import (
	"golang.org/x/net/bpf"
)

// The library's own assembler is not used: in v1.6.0 a program goes on with the next
// call when a condition does not hold, and compares that call's number with whatever
// argument was loaded last. A process could choose an argument that is the number of
// an allowed call. Here each rule with conditions loads the number anew.

// A condition is on one argument. It is jumps over the instructions that follow, so it
// is written as those that are taken where it does not hold.
type condition struct {
	argument     uint32
	test         bpf.JumpTest
	value        uint64
	upper, lower bool // which halves are looked at
}

// is: the whole argument is value.
func is(argument uint32, value uint64) condition {
	return condition{argument: argument, test: bpf.JumpEqual, value: value, upper: true, lower: true}
}

// lower: the lower half of the argument is value, whatever the upper one is.
func lower(argument, value uint32) condition {
	return condition{argument: argument, test: bpf.JumpEqual, value: uint64(value), lower: true}
}

// has: any of the bits is set, which are of the lower half.
func has(argument, bits uint32) condition {
	return condition{argument: argument, test: bpf.JumpBitsSet, value: uint64(bits), lower: true}
}

// hasNone: none of the bits is set.
func hasNone(argument uint32, bits uint64) condition {
	return condition{argument: argument, test: bpf.JumpBitsNotSet, value: bits, upper: true, lower: true}
}

// Offsets in struct seccomp_data; see seccomp(2). Both architectures are little-endian.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
	sizeArg      = 8
	sizeWord     = 4
)

// instructions are the rule's part of the program: without conditions, two that
// expect the call's number to be loaded; otherwise a block that loads it first, and
// again at its end for those that follow.
func (c call) instructions(number uint32) []bpf.Instruction {
	if len(c.conditions) == 0 {
		return []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: number, SkipFalse: 1},
			bpf.RetConstant{Val: uint32(c.action)},
		}
	}
	block := []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: number}}
	for _, cond := range c.conditions {
		block = append(block, cond.instructions()...)
	}
	block = append(block, bpf.RetConstant{Val: uint32(c.action)})
	for i, in := range block { // whatever does not hold leaves the block
		if jump, ok := in.(bpf.JumpIf); ok {
			jump.SkipFalse = uint8(len(block) - i - 1)
			block[i] = jump
		}
	}
	return append(block, bpf.LoadAbsolute{Off: offsetNumber, Size: sizeWord})
}

func (c condition) instructions() []bpf.Instruction {
	var in []bpf.Instruction
	offset := offsetArgs + sizeArg*c.argument
	if c.upper {
		in = append(in, bpf.LoadAbsolute{Off: offset + sizeWord, Size: sizeWord},
			bpf.JumpIf{Cond: c.test, Val: uint32(c.value >> 32)})
	}
	if c.lower {
		in = append(in, bpf.LoadAbsolute{Off: offset, Size: sizeWord},
			bpf.JumpIf{Cond: c.test, Val: uint32(c.value)})
	}
	return in
}
