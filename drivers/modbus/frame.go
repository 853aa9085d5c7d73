package modbus

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A framing says how a request and its answer (a PDU: a function code and its data) go over a
// carrier. It has no state but what a link's settings say, and is used by many at once.
type framing interface {
	// packager makes the frames of one unit.
	packager(unit byte) modbus.Packager

	// stamp puts a transaction id into a request's frame, where it has one.
	stamp(adu []byte, id uint16)

	// next finds the first whole frame in what has arrived: b[skip:skip+size]. A size of 0: it
	// is not complete, and the first skip bytes are of no use. asked is the frame that is
	// awaited where only one is, else nil. An error: no frame can be found in b any more.
	next(b, asked []byte) (skip, size int, err error)

	// last is next for a frame that next took for what it might not be, now that no more will
	// come. A size of 0: there is none.
	last(b, asked []byte) (skip, size int)

	// stranger finds an answer to what was asked that comes from another unit.
	stranger(b, asked []byte) (unit byte, ok bool)

	// id returns the transaction id of an answer; one: it answers the only request in flight.
	id(frame []byte) (id uint16, one bool)

	// unit returns the unit of a frame.
	unit(frame []byte) byte

	// function returns the function code of a frame, with the exception bit.
	function(frame []byte) byte

	// lenient says what of an answer is not insisted on.
	lenient() lenience

	// trim cuts off an answer to a request what follows its data, where that is not insisted on.
	trim(frame, asked []byte) []byte

	// check looks at what the packager does not: that an answer under the same transaction is
	// one to the request. It may write to the answer.
	check(adu, answer []byte) error

	// answerSize is about how many characters the answer to a request takes.
	answerSize(request *modbus.ProtocolDataUnit) int

	// serial reports whether frames are told apart by time and content, as on a serial line:
	// then one request is in flight at most, and unit 0 is a broadcast.
	serial() bool
}

// The words of the setting framing.
const (
	framingMBAP  = "mbap"
	framingRTU   = "rtu"
	framingASCII = "ascii"
)

// lenience is what of an answer is not insisted on.
type lenience struct {
	transaction bool // that it has the request's transaction id
	trailing    bool // that nothing follows its data
	unit        bool // that it comes from the unit that was asked
}

func (l lenience) lenient() lenience { return l }

// The words of the setting ignore.
const (
	ignoreTransaction = "transaction"
	ignoreTrailing    = "trailing"
	ignoreUnit        = "unit"
)

// checkFunction looks whether an answer has the function that was asked, or its exception with
// a code (clause 7). pdu is the answer without what the frame adds.
func checkFunction(asked byte, pdu []byte) error {
	got := pdu[0]
	switch {
	case got == asked:
		return nil
	case got != asked|exceptionBit:
		return driver.Errorf(driver.Protocol, "function %d was answered with function %d", asked, got)
	case len(pdu) != 2:
		return driver.Errorf(driver.Protocol, "an exception of %d bytes where it has 2", len(pdu))
	default:
		return nil
	}
}

// mbap is the framing of Modbus TCP (Modbus Messaging on TCP/IP Implementation Guide V1.0b,
// clause 3.1.3).
type mbap struct{ lenience }

var _ framing = mbap{}

func (mbap) packager(unit byte) modbus.Packager {
	handler := modbus.NewTCPClientHandler("") // its packager; it never connects
	handler.SlaveId = unit
	return handler
}

func (mbap) stamp(adu []byte, id uint16) { binary.BigEndian.PutUint16(adu, id) }

func (mbap) next(b, _ []byte) (skip, size int, err error) {
	if len(b) >= 4 {
		if protocol := binary.BigEndian.Uint16(b[2:]); protocol != 0 {
			return 0, 0, fmt.Errorf("protocol id %d where Modbus has 0", protocol)
		}
	}
	if len(b) < lengthEnd {
		return 0, 0, nil
	}
	size = lengthEnd + int(binary.BigEndian.Uint16(b[4:]))
	if size <= headerSize || size > maxFrame {
		return 0, 0, fmt.Errorf("a length of %d, outside of 2 to %d", size-lengthEnd, maxFrame-lengthEnd)
	}
	if len(b) < size {
		return 0, 0, nil
	}
	return 0, size, nil
}

func (mbap) last(_, _ []byte) (skip, size int) { return 0, 0 }

func (mbap) stranger(_, _ []byte) (unit byte, ok bool) { return 0, false }

func (m mbap) id(frame []byte) (id uint16, one bool) {
	id = binary.BigEndian.Uint16(frame)
	return id, m.transaction && id == 0
}

// trim makes the answer as long as its function and its count of bytes say.
func (m mbap) trim(frame, asked []byte) []byte {
	if !m.trailing || len(frame) < headerSize+2 {
		return frame
	}
	// The same in RTU, whose frame is the unit and the PDU with a CRC of two bytes.
	var answer, request [maxFrame + 2]byte
	n, k := copy(answer[:], frame[lengthEnd:]), copy(request[:], asked[lengthEnd:])
	size := rtu{lenience: m.lenience}.sizeAt(answer[:n+2], request[:k+2])
	if end := lengthEnd + size - 2; size > 0 && end < len(frame) {
		frame = frame[:end]
		binary.BigEndian.PutUint16(frame[4:], uint16(end-lengthEnd))
	}
	return frame
}

func (mbap) unit(frame []byte) byte { return frame[lengthEnd] }

func (mbap) function(frame []byte) byte { return frame[headerSize] }

// check puts the request's own transaction id back into the answer, which came under the
// wire's.
func (m mbap) check(adu, answer []byte) error {
	copy(answer[:2], adu)
	if m.lenience.unit {
		answer[lengthEnd] = adu[lengthEnd]
	}
	return checkFunction(adu[headerSize], answer[headerSize:])
}

func (mbap) answerSize(request *modbus.ProtocolDataUnit) int { return headerSize + answerData(request) }

// answerData is about how many bytes the answer to a request has.
func answerData(request *modbus.ProtocolDataUnit) int {
	switch request.FunctionCode {
	case modbus.FuncCodeReadCoils, modbus.FuncCodeReadDiscreteInputs:
		return 2 + (itemsOf(request.Data)+7)/8
	case modbus.FuncCodeReadHoldingRegisters, modbus.FuncCodeReadInputRegisters, modbus.FuncCodeReadWriteMultipleRegisters:
		return 2 + 2*itemsOf(request.Data)
	case modbus.FuncCodeWriteSingleCoil, modbus.FuncCodeWriteSingleRegister, modbus.FuncCodeWriteMultipleCoils,
		modbus.FuncCodeWriteMultipleRegisters, modbus.FuncCodeMaskWriteRegister:
		return 1 + len(request.Data)
	}
	return maxPDU
}

// maxPDU is the longest function code with its data (clause 4.1).
const maxPDU = 253

func (mbap) serial() bool { return false }

// broadcastAnswer is the answer that a unit would give to a write, of which a broadcast has
// none: the start of the request (clauses 6.5, 6.6, 6.11, 6.12, 6.16).
func broadcastAnswer(f framing, adu []byte) ([]byte, error) {
	p := f.packager(f.unit(adu))
	pdu, err := p.Decode(adu)
	if err != nil {
		return nil, malformed(err)
	}
	answer := modbus.ProtocolDataUnit{FunctionCode: pdu.FunctionCode, Data: pdu.Data}
	switch pdu.FunctionCode {
	case modbus.FuncCodeWriteMultipleCoils, modbus.FuncCodeWriteMultipleRegisters:
		answer.Data = pdu.Data[:4]
	case modbus.FuncCodeWriteSingleCoil, modbus.FuncCodeWriteSingleRegister, modbus.FuncCodeMaskWriteRegister:
	default:
		return nil, driver.Errorf(driver.Denied, "function %d cannot be broadcast: nobody answers", pdu.FunctionCode)
	}
	made, err := p.Encode(&answer)
	if err != nil {
		return nil, malformed(err)
	}
	f.stamp(made, 0)
	copy(made[:2], adu[:2])
	return slices.Clone(made), nil
}
