// Package modbus is the server's side of Modbus TCP: frames, the state diagrams of the function
// codes, and a device's memory.
//
// It is written from the specifications, MODBUS Application Protocol V1.1b3 (MAP below) and
// MODBUS Messaging on TCP/IP V1.0b (MTI), and shares no code with any client. It opens no
// connection and knows no clock; package simulator does.
//
// A Layout says which addresses a kind of device has and what lies there; it is compiled once
// and shared. A Memory is one device's: what was written to it.
package modbus

import (
	"encoding/binary"
	"fmt"
)

const (
	headerSize = 7          // MTI 3.1.3: transaction (2), protocol (2), length (2), unit (1)
	maxPDU     = 253        // MAP 4.1
	minLength  = 2          // the unit and a function code
	maxLength  = 1 + maxPDU // what the length field may say
	exception  = 0x80       // MAP 4.1: set in the function code of an exception answer
)

// MaxFrame is the size of the longest frame, MAP 4.1.
const MaxFrame = headerSize + maxPDU

// Frame is one request as it stands in a connection's buffer.
type Frame struct {
	Transaction uint16
	Protocol    uint16 // 0 is Modbus; any other is to be discarded, MTI 4.2
	Unit        byte
	PDU         []byte // part of the buffer
}

// Next takes the first frame from buf and returns how many bytes it takes; 0 says that more
// bytes are needed. After an error the connection cannot find the start of a frame again and is
// to be closed.
func Next(buf []byte) (Frame, int, error) {
	if len(buf) < headerSize {
		return Frame{}, 0, nil
	}
	length := int(binary.BigEndian.Uint16(buf[4:]))
	if length < minLength || length > maxLength {
		return Frame{}, 0, fmt.Errorf("length field of %d is not within %d to %d", length, minLength, maxLength)
	}
	size := headerSize - 1 + length
	if len(buf) < size {
		return Frame{}, 0, nil
	}
	return Frame{
		Transaction: binary.BigEndian.Uint16(buf),
		Protocol:    binary.BigEndian.Uint16(buf[2:]),
		Unit:        buf[6],
		PDU:         buf[headerSize:size],
	}, size, nil
}

// BeginAnswer appends the header of an answer. EndAnswer must follow when the answer's PDU has
// been appended.
func BeginAnswer(to []byte, transaction uint16, unit byte) []byte {
	return append(to, byte(transaction>>8), byte(transaction), 0, 0, 0, 0, unit)
}

// EndAnswer puts the length into the header of the answer that begins at start.
func EndAnswer(answer []byte, start int) {
	binary.BigEndian.PutUint16(answer[start+4:], uint16(len(answer)-start-headerSize+1))
}

// AppendException appends an exception answer's PDU.
func AppendException(to []byte, function, code byte) []byte {
	return append(to, function|exception, code)
}
