package modbus

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	"github.com/goburrow/modbus"
)

// rtu is the framing of a serial line with binary characters (Modbus over Serial Line V1.02,
// clause 2.5.1): unit, PDU, and a CRC of 16 bits, the lower byte first. On the line silence ends
// a frame; here an answer's end is known from what was asked, so that it may come over any
// carrier and in pieces. What stands before it, an echo or noise, is passed over: an answer is
// what has the unit, the function and the size that were asked for, and a good CRC.
type rtu struct {
	lenience
	echo
}

var _ framing = rtu{}

const (
	minRTU = 4   // unit, function, CRC
	maxRTU = 256 // clause 2.5.1.1
)

func (rtu) packager(unit byte) modbus.Packager {
	handler := modbus.NewRTUClientHandler("") // its packager; it never opens a port
	handler.SlaveId = unit
	return handler
}

func (rtu) stamp([]byte, uint16) {}

func (r rtu) next(b, asked []byte) (skip, size int, err error) {
	if len(asked) < minRTU {
		return len(b), 0, nil // nobody waits
	}
	for at := r.size(b, asked); at+minRTU <= len(b); at++ {
		if b[at] != asked[0] && !r.lenience.unit {
			continue
		}
		n := r.sizeAt(b[at:], asked)
		if n > 0 && at+n <= len(b) && goodCRC(b[at:at+n]) {
			r.learn(b[:at], asked)
			return at, n, nil
		}
	}
	return max(0, len(b)-2*maxRTU), 0, nil // an answer that has begun is in the rest
}

// sizeAt is how long an answer would be that begins at b; 0: it cannot be told yet, or b
// begins none.
func (r rtu) sizeAt(b, asked []byte) int {
	function := asked[1]
	if b[1] == function|exceptionBit {
		return 5
	}
	if b[1] != function {
		return 0
	}
	data := asked[2 : len(asked)-2]
	switch function {
	case modbus.FuncCodeReadCoils, modbus.FuncCodeReadDiscreteInputs:
		return r.counted(b, (itemsOf(data)+7)/8)
	case modbus.FuncCodeReadHoldingRegisters, modbus.FuncCodeReadInputRegisters, modbus.FuncCodeReadWriteMultipleRegisters:
		return r.counted(b, 2*itemsOf(data))
	case modbus.FuncCodeWriteSingleCoil, modbus.FuncCodeWriteSingleRegister, modbus.FuncCodeWriteMultipleCoils,
		modbus.FuncCodeWriteMultipleRegisters, funcEventCounter:
		return 8
	case modbus.FuncCodeMaskWriteRegister:
		return 10
	case funcExceptionStatus:
		return 5
	case funcDiagnostics:
		return len(asked)
	case modbus.FuncCodeReadFIFOQueue:
		if len(b) < 4 {
			return 0
		}
		return 6 + int(binary.BigEndian.Uint16(b[2:]))
	case funcEncapsulated:
		return identificationSize(b)
	default: // a count of bytes, and as many
		return 5 + int(b[2])
	}
}

// counted is the size of an answer with a count of bytes, which has to be that of what was asked.
func (r rtu) counted(b []byte, want int) int {
	if got := int(b[2]); got != want && !r.trailing {
		return 0
	} else if got < want {
		return 0
	}
	return 5 + int(b[2])
}

// itemsOf is the number of items that a read asks for: behind the address (clauses 6.1 to 6.4).
func itemsOf(data []byte) int {
	if len(data) < 4 {
		return 0
	}
	return int(binary.BigEndian.Uint16(data[2:]))
}

// Functions that goburrow does not name (clauses 6.7, 6.8, 6.9, 6.21).
const (
	funcExceptionStatus = 7
	funcDiagnostics     = 8
	funcEventCounter    = 11
	funcEncapsulated    = 43
)

// identificationSize is the size of an answer to a read of the device identification: behind
// six bytes the number of objects, each with its number and its length (clause 6.21).
func identificationSize(b []byte) int {
	const head = 8 // unit, function, type, code, conformity, more, next, count
	if len(b) < head {
		return 0
	}
	at := head
	for range b[head-1] {
		if len(b) < at+2 {
			return 0
		}
		at += 2 + int(b[at+1])
	}
	return at + 2
}

// goodCRC reports whether a frame ends with its CRC.
func goodCRC(frame []byte) bool {
	n := len(frame) - 2
	return binary.LittleEndian.Uint16(frame[n:]) == crc16(frame[:n])
}

// crc16 is the CRC of a frame (Modbus over Serial Line V1.02, clause 6.2.2).
func crc16(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc = crc>>8 ^ crcTable[byte(crc)^c]
	}
	return crc
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
		table[i] = crc
	}
	return table
}()

func (rtu) id([]byte) (uint16, bool) { return 0, true }

func (rtu) unit(frame []byte) byte { return frame[0] }

func (rtu) function(frame []byte) byte { return frame[1] }

func (r rtu) check(adu, answer []byte) error {
	if r.lenience.unit && answer[0] != adu[0] {
		answer[0] = adu[0]
		binary.LittleEndian.PutUint16(answer[len(answer)-2:], crc16(answer[:len(answer)-2]))
	}
	return checkFunction(adu[1], answer[1:len(answer)-2])
}

func (rtu) answerSize(request *modbus.ProtocolDataUnit) int { return 3 + answerData(request) }

func (rtu) serial() bool { return true }

// An echo says whether a line hears what it sends, as half-duplex adapters may. The answer to a
// read differs from its request, so that an echo of it is passed over like any noise, and
// teaches what the line does; that of some writes does not.
type echo struct {
	sure  bool         // by the settings: as many bytes as were sent come first, damaged or not
	heard *atomic.Bool // what reads have taught; nil: by the settings there is none
}

// size is how many bytes at the begin of b are an echo.
func (e echo) size(b, asked []byte) int {
	if e.sure || e.heard != nil && e.heard.Load() && bytes.HasPrefix(b, asked) {
		return len(asked)
	}
	return 0
}

// learn looks at what came before an answer.
func (e echo) learn(before, asked []byte) {
	if e.heard != nil && bytes.HasPrefix(before, asked) && !e.heard.Load() {
		e.heard.Store(true)
	}
}
