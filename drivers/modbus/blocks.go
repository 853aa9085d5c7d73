package modbus

import (
	"fmt"
	"strings"

	"github.com/fieldloom/fieldloom/core/engine/planner"
)

// blockSettings are a run of addresses that are asked for apart from all others.
type blockSettings struct {
	At  string `json:"at"`  // TABLE:FIRST-LAST
	Max int    `json:"max"` // items of one request; 0: the device's max_block
}

const (
	maxBlocks = 100
	tableSize = 1 << 16
)

// addBlock adds a block, which must not overlap another.
func (s *deviceSettings) addBlock(at string, most int) error {
	first, last, ranged := strings.Cut(at, "-")
	a, err := ParseAddress(first)
	if err != nil {
		return err
	}
	end := a.Start
	if ranged {
		if end, err = parseNumber(last); err != nil {
			return fmt.Errorf("at %q: %w", at, err)
		}
	}
	limit := s.MaxBlock
	if a.Table.bits() {
		limit = maxReadBits
	}
	switch {
	case end < a.Start:
		return fmt.Errorf("at %q: its end is before its begin", at)
	case most < 0 || most > limit:
		return fmt.Errorf("max %d is not within 0 and %d", most, limit)
	}
	return s.add(planner.Block{Span: planner.Span{Table: uint8(a.Table), Start: uint32(a.Start), Count: uint32(end-a.Start) + 1}, Max: uint32(most)})
}

// addBreak has no request read across a place: what is from there on, up to the next block or
// break, is a block of its own.
func (s *deviceSettings) addBreak(at string) error {
	a, err := ParseAddress(at)
	if err != nil {
		return err
	}
	b := planner.Block{Span: planner.Span{Table: uint8(a.Table), Start: uint32(a.Start), Count: tableSize - uint32(a.Start)}}
	for i := range s.plan {
		other := &s.plan[i]
		switch {
		case other.Table != b.Table || other.End() <= b.Start:
		case other.Start > b.Start: // it ends where that one begins
			b.Count = min(b.Count, other.Start-b.Start)
		case other.Start == b.Start:
			return nil // there is a break already
		default: // in the midst of that one
			b.Count, b.Max = other.End()-b.Start, other.Max
			other.Count = b.Start - other.Start
		}
	}
	return s.add(b)
}

func (s *deviceSettings) add(b planner.Block) error {
	if len(s.plan) == maxBlocks {
		return fmt.Errorf("more than %d blocks", maxBlocks)
	}
	for _, other := range s.plan {
		if other.Table == b.Table && other.Start < b.End() && b.Start < other.End() {
			return fmt.Errorf("%s:%d-%d and %s:%d-%d overlap", Table(b.Table), b.Start, b.End()-1, Table(other.Table), other.Start, other.End()-1)
		}
	}
	s.plan = append(s.plan, b)
	return nil
}

// fits reports what is wrong with an address that lies partly in a block, or is too large for it.
func (s *deviceSettings) fits(a Address) error {
	span := planner.Span{Table: uint8(a.Table), Start: uint32(a.Start), Count: uint32(a.items())}
	for _, b := range s.plan {
		if span.Table != b.Table || span.End() <= b.Start || span.Start >= b.End() {
			continue
		}
		if span.Start < b.Start || span.End() > b.End() {
			return fmt.Errorf("address %q is partly in the block %s:%d-%d", a, a.Table, b.Start, b.End()-1)
		}
		if b.Max > 0 && span.Count > b.Max {
			return fmt.Errorf("address %q takes %d registers, more than the %d of a request in its block", a, span.Count, b.Max)
		}
	}
	return nil
}
