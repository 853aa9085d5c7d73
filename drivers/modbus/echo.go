package modbus

import (
	"bytes"
	"sync/atomic"

	"github.com/goburrow/modbus"
)

// An echo says whether a line hears what it sends, as half-duplex adapters may. An echo is no
// answer: that of a read differs from any answer to it, is passed over like noise, and so
// teaches what the line does. The answer to some writes is the request itself, though: there it
// has to be known whether the first that comes is the echo.
type echo struct {
	sure  bool           // by the settings: as many bytes as were sent come first, damaged or not
	heard *atomic.Uint32 // what the line has taught; nil: by the settings there is none
}

// What a line has taught.
const (
	echoUnknown = iota
	echoNone
	echoHeard
)

func newEcho(auto, sure bool) echo {
	e := echo{sure: sure}
	if auto {
		e.heard = new(atomic.Uint32)
	}
	return e
}

// size is how many bytes at the begin of what has arrived are an echo by the settings.
func (e echo) size(asked []byte) int {
	if e.sure {
		return len(asked)
	}
	return 0
}

// doubtful reports whether a frame that equals the request may be its echo: it is the first
// such one, and the line is not known to have none.
func (e echo) doubtful(before, frame, asked []byte) bool {
	return e.heard != nil && e.heard.Load() != echoNone && bytes.Equal(frame, asked) && !bytes.Contains(before, asked)
}

// unknown reports whether nothing has taught yet whether there is an echo.
func (e echo) unknown() bool { return e.heard != nil && e.heard.Load() == echoUnknown }

// learn looks at what came before an answer, or came without one. mirrors: the answer looks as
// the request does, so that one copy alone teaches nothing.
func (e echo) learn(before, asked []byte, answered, mirrors bool) {
	switch {
	case e.heard == nil:
	case bytes.Contains(before, asked) && (answered || !mirrors):
		e.note(echoHeard)
	case len(before) == 0 && answered && !mirrors:
		e.note(echoNone)
	}
}

func (e echo) note(is uint32) {
	if e.heard.Load() != is {
		e.heard.Store(is)
	}
}

// mirrors reports whether the answer to a function is the request (clauses 6.5, 6.6, 6.8, 6.15,
// 6.16).
func mirrors(function byte) bool {
	switch function {
	case modbus.FuncCodeWriteSingleCoil, modbus.FuncCodeWriteSingleRegister, modbus.FuncCodeMaskWriteRegister,
		funcDiagnostics, funcWriteFileRecord:
		return true
	}
	return false
}
