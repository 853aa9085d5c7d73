package modbus

import (
	"encoding/binary"

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
	return r.find(b, asked, false)
}

// last is next where nothing more will come: what may have been an echo was the answer.
func (r rtu) last(b, asked []byte) (skip, size int) {
	if len(asked) < minRTU || !r.unknown() {
		return 0, 0
	}
	skip, size, _ = r.find(b, asked, true)
	return skip, size
}

func (r rtu) find(b, asked []byte, last bool) (skip, size int, err error) {
	mirror := mirrors(asked[1])
	for at := r.size(asked); at+minRTU <= len(b); at++ {
		if b[at] != asked[0] && !r.lenience.unit {
			continue
		}
		n := r.sizeAt(b[at:], asked)
		switch {
		case n == 0:
		case at+n > len(b):
			// What is inside of an answer is none itself. One of another request that is passed
			// over is as long, so that the right one is not kept waiting.
			return max(0, len(b)-2*maxRTU), 0, nil
		case !goodCRC(b[at : at+n]):
		case !last && r.doubtful(b[:at], b[at:at+n], asked):
			at += n - 1
		default:
			r.learn(b[:at], asked, true, mirror)
			return at, n, nil
		}
	}
	r.learn(b, asked, false, mirror)
	return max(0, len(b)-2*maxRTU), 0, nil // an answer that has begun is in the rest
}

// stranger is the unit that has answered instead of the one that was asked.
func (r rtu) stranger(b, asked []byte) (unit byte, ok bool) {
	if len(asked) < minRTU {
		return 0, false
	}
	every := rtu{lenience: lenience{unit: true}}
	for at := range b {
		skip, size, _ := every.find(b[at:], asked, true)
		if size == 0 {
			return 0, false
		}
		if frame := b[at+skip : at+skip+size]; frame[0] != asked[0] {
			return frame[0], true
		}
	}
	return 0, false
}

// sizeAt is how long an answer would be that begins at b, which has minRTU bytes or more. 0: b
// begins none. One that cannot be told yet is longer than b.
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
	case funcDiagnostics, funcWriteFileRecord:
		return len(asked)
	case modbus.FuncCodeReadFIFOQueue:
		return upTo(6 + int(binary.BigEndian.Uint16(b[2:])))
	case funcEncapsulated:
		return identificationSize(b)
	default: // a count of bytes, and as many
		return upTo(5 + int(b[2]))
	}
}

// upTo is a size, if a frame may be as long.
func upTo(size int) int {
	if size > maxRTU {
		return 0
	}
	return size
}

// counted is the size of an answer with a count of bytes, which has to be that of what was asked.
func (r rtu) counted(b []byte, want int) int {
	got := int(b[2])
	if got < want || got > want && !r.trailing {
		return 0
	}
	return upTo(5 + got)
}

// itemsOf is the number of items that a read asks for: behind the address (clauses 6.1 to 6.4).
func itemsOf(data []byte) int {
	if len(data) < 4 {
		return 0
	}
	return int(binary.BigEndian.Uint16(data[2:]))
}

// Functions that goburrow does not name (clauses 6.7, 6.8, 6.9, 6.15, 6.21).
const (
	funcExceptionStatus = 7
	funcDiagnostics     = 8
	funcEventCounter    = 11
	funcWriteFileRecord = 21
	funcEncapsulated    = 43

	readIdentification = 14 // of funcEncapsulated
)

// identificationSize is the size of an answer to a read of the device identification: behind
// six bytes the number of objects, each with its number and its length (clause 6.21).
func identificationSize(b []byte) int {
	const head = 8 // unit, function, type, code, conformity, more, next, count
	if b[2] != readIdentification {
		return 0
	}
	if len(b) < head {
		return head + 2
	}
	at := head
	for range b[head-1] {
		if len(b) < at+2 {
			return upTo(at + 4) // an object and the CRC, at least
		}
		at += 2 + int(b[at+1])
	}
	return upTo(at + 2)
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

func (rtu) trim(frame, _ []byte) []byte { return frame }

func (rtu) serial() bool { return true }
