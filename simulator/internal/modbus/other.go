package modbus

import (
	"encoding/binary"
	"slices"
)

// Function codes beside those of registers and coils, MAP 6.
const (
	readStatus      = 7
	diagnostics     = 8
	eventCounter    = 11
	eventLog        = 12
	serverID        = 17
	readFileRecord  = 20
	writeFileRecord = 21
	readFIFO        = 24
	encapsulated    = 43
	identification  = 14 // the only MEI type here, MAP 6.21
)

// Limits of records in a file, MAP 6.14.
const (
	recordReference = 6 // the reference type
	maxRecord       = 9999
	fifoMost        = 31 // MAP 6.18
)

// Objects are what a device says of itself, by their numbers (MAP 6.21): 0 the maker, 1 the
// product, 2 the revision.
var objects = []string{"Fieldloom", "simulator", "1.0"}

// executeOther serves the functions that are about the device and not about its registers.
func (r *request) executeOther() byte {
	switch r.pdu[0] {
	case readStatus:
		r.out = append(r.out, readStatus, byte(r.at.Slot)&1)
	case diagnostics:
		return r.diagnose()
	case eventCounter:
		r.out = append(r.out, eventCounter, 0, 0)
		r.out = binary.BigEndian.AppendUint16(r.out, uint16(r.at.Slot))
	case eventLog:
		r.out = append(r.out, eventLog, 6, 0, 0, 0, 0, 0, 0)
	case serverID:
		r.out = append(r.out, serverID, byte(len(objects[1])+1))
		r.out = append(append(r.out, objects[1]...), 0xff) // running
	case readFileRecord:
		return r.readFile()
	case writeFileRecord:
		return r.writeFile()
	case readFIFO:
		return r.readQueue()
	case encapsulated:
		return r.identify()
	default:
		return IllegalFunction
	}
	return 0
}

// diagnose is MAP 6.8: sub-function 0 returns what came, those that read a counter its value.
func (r *request) diagnose() byte {
	if len(r.pdu) != 5 {
		return IllegalValue
	}
	sub, _ := r.fields()
	switch {
	case sub == 0:
		r.out = append(r.out, r.pdu...)
	case sub >= 11 && sub <= 18:
		r.out = append(r.out, r.pdu[:3]...)
		r.out = binary.BigEndian.AppendUint16(r.out, uint16(r.at.Slot))
	default:
		return IllegalFunction
	}
	return 0
}

// readFile is MAP 6.14: each record of a file is a register that counts from 10,000 times the
// file's number, until it is written.
func (r *request) readFile() byte {
	if len(r.pdu) < 9 || int(r.pdu[1]) != len(r.pdu)-2 || r.pdu[1]%7 != 0 {
		return IllegalValue
	}
	var data []byte
	for group := range slices.Chunk(r.pdu[2:], 7) {
		file, record, n := binary.BigEndian.Uint16(group[1:]), int(binary.BigEndian.Uint16(group[3:])), int(binary.BigEndian.Uint16(group[5:]))
		if group[0] != recordReference || file == 0 || record+n > maxRecord+1 {
			return IllegalAddress
		}
		data = append(data, byte(2*n+1), recordReference)
		for i := range n {
			data = binary.BigEndian.AppendUint16(data, r.record(file, uint16(record+i)))
		}
	}
	if len(data) > maxPDU-2 {
		return IllegalValue
	}
	r.out = append(append(r.out, readFileRecord, byte(len(data))), data...)
	return 0
}

// writeFile is MAP 6.15.
func (r *request) writeFile() byte {
	if len(r.pdu) < 9 || int(r.pdu[1]) != len(r.pdu)-2 {
		return IllegalValue
	}
	for rest := r.pdu[2:]; len(rest) > 0; {
		if len(rest) < 7 {
			return IllegalValue
		}
		file, record, n := binary.BigEndian.Uint16(rest[1:]), int(binary.BigEndian.Uint16(rest[3:])), int(binary.BigEndian.Uint16(rest[5:]))
		if rest[0] != recordReference || file == 0 || record+n > maxRecord+1 {
			return IllegalAddress
		}
		if len(rest) < 7+2*n {
			return IllegalValue
		}
		for i := range n {
			r.setRecord(file, uint16(record+i), binary.BigEndian.Uint16(rest[7+2*i:]))
		}
		rest = rest[7+2*n:]
	}
	r.out = append(r.out, r.pdu...)
	return 0
}

// record is a register of a file.
func (m *Memory) record(file, number uint16) uint16 {
	if v, written := m.files[[2]uint16{file, number}]; written {
		return v
	}
	return 10_000*file + number
}

func (m *Memory) setRecord(file, number, value uint16) {
	if m.files == nil {
		m.files = make(map[[2]uint16]uint16)
	}
	m.files[[2]uint16{file, number}] = value
}

// readQueue is MAP 6.18: the holding register at the pointer says how many follow it.
func (r *request) readQueue() byte {
	if len(r.pdu) != 3 {
		return IllegalValue
	}
	start := int(binary.BigEndian.Uint16(r.pdu[1:]))
	if !r.layout.tables[Holding].allows(start, 1) {
		return IllegalAddress
	}
	var count [2]byte
	r.registers(count[:], Holding, start, 1, r.at)
	n := int(binary.BigEndian.Uint16(count[:]))
	if n > fifoMost || !r.layout.tables[Holding].allows(start, n+1) {
		return IllegalValue
	}
	queue := make([]byte, 2*n)
	r.registers(queue, Holding, start+1, n, r.at)
	r.out = binary.BigEndian.AppendUint16(append(r.out, readFIFO), uint16(2*n+2))
	r.out = append(append(r.out, count[:]...), queue...)
	return 0
}

// identify is MAP 6.21: codes 1 to 3 read all objects from one on, 4 reads one.
func (r *request) identify() byte {
	if len(r.pdu) != 4 || r.pdu[1] != identification {
		return IllegalFunction
	}
	code, first := r.pdu[2], int(r.pdu[3])
	if code < 1 || code > 4 {
		return IllegalValue
	}
	if first >= len(objects) {
		if code == 4 {
			return IllegalAddress
		}
		first = 0
	}
	last := len(objects)
	if code == 4 {
		last = first + 1
	}
	r.out = append(r.out, encapsulated, identification, code, 0x81, 0, 0, byte(last-first))
	for i := first; i < last; i++ {
		r.out = append(append(r.out, byte(i), byte(len(objects[i]))), objects[i]...)
	}
	return 0
}
