package modbus

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
)

// The serial frames are those of MODBUS over Serial Line V1.02 (MSL below).

// MaxSerial is the size of the longest frame on a serial line, MSL 2.5.2.1.
const MaxSerial = 513

// NextRTU takes the first request from buf, MSL 2.5.1, and returns how many bytes it takes; 0
// says that more bytes are needed. A frame without a PDU is bytes that are no request.
func NextRTU(buf []byte) (Frame, int) {
	size := requestSize(buf)
	if size == 0 || len(buf) < size {
		return Frame{}, 0
	}
	if size < 4 || CRC(buf[:size-2]) != binary.LittleEndian.Uint16(buf[size-2:]) {
		return Frame{}, 1
	}
	return Frame{Unit: buf[0], PDU: buf[1 : size-2]}, size
}

// requestSize is how long a request is that begins at buf, with unit and CRC; 0: more bytes are
// needed to tell; below 4: it is none.
func requestSize(buf []byte) int {
	const around = 3 // unit, CRC
	counted := func(at int) int {
		if len(buf) <= at {
			return 0
		}
		return at + 1 + int(buf[at]) + 2
	}
	if len(buf) < 2 {
		return 0
	}
	switch buf[1] {
	case readCoils, readDiscretes, readHolding, readInput, writeCoil, writeRegister, diagnostics:
		return around + 5
	case readStatus, eventCounter, eventLog, serverID:
		return around + 1
	case writeCoils, writeRegisters:
		return counted(6)
	case maskRegister:
		return around + 7
	case readWriteRegisters:
		return counted(10)
	case readFileRecord, writeFileRecord:
		return counted(2)
	case readFIFO:
		return around + 3
	case encapsulated:
		return around + 4
	}
	return 1
}

// BeginRTU appends the start of an answer, and EndRTU its CRC behind the PDU.
func BeginRTU(to []byte, unit byte) []byte { return append(to, unit) }

// EndRTU appends the CRC of the answer that begins at start.
func EndRTU(answer []byte, start int) []byte {
	return binary.LittleEndian.AppendUint16(answer, CRC(answer[start:]))
}

// CRC is that of MSL 6.2.2, bit by bit as the clause has it.
func CRC(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			carry := crc & 1
			crc >>= 1
			if carry == 1 {
				crc ^= 0xa001
			}
		}
	}
	return crc
}

// NextASCII takes the first request from buf, MSL 2.5.2, as NextRTU does.
func NextASCII(buf []byte) (Frame, int) {
	start := bytes.IndexByte(buf, ':')
	if start < 0 {
		return Frame{}, len(buf)
	}
	if start > 0 {
		return Frame{}, start
	}
	end := bytes.Index(buf, []byte("\r\n"))
	if again := bytes.IndexByte(buf[1:], ':'); again >= 0 && (end < 0 || again+1 < end) {
		return Frame{}, again + 1
	}
	if end < 0 {
		if len(buf) > MaxSerial {
			return Frame{}, len(buf)
		}
		return Frame{}, 0
	}
	raw := make([]byte, hex.DecodedLen(end-1))
	if n, err := hex.Decode(raw, buf[1:end]); err != nil || n < 3 || lrc(raw[:n]) != 0 {
		return Frame{}, end + 2
	}
	return Frame{Unit: raw[0], PDU: raw[1 : len(raw)-1]}, end + 2
}

// EndASCII turns the answer that begins at start, a unit and a PDU, into its frame.
func EndASCII(answer []byte, start int) []byte {
	raw := append([]byte(nil), answer[start:]...)
	raw = append(raw, -lrc(raw))
	answer = append(answer[:start], ':')
	answer = append(answer, bytes.ToUpper(hex.AppendEncode(nil, raw))...)
	return append(answer, '\r', '\n')
}

// lrc is the sum of bytes, MSL 6.2.1; with the LRC among them it is 0.
func lrc(b []byte) (sum byte) {
	for _, c := range b {
		sum += c
	}
	return sum
}
