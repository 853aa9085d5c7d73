package modbus

import (
	"encoding/binary"
	"slices"
)

// Limits of MAP 6.
const (
	maxReadBits       = 2000 // 6.1, 6.2
	maxReadRegisters  = 125  // 6.3, 6.4
	maxWriteBits      = 1968 // 6.11
	maxWriteRegisters = 123  // 6.12
	maxReadWrite      = 121  // 6.17, the registers written
)

// Exception codes of MAP 7.
const (
	IllegalFunction = 0x01
	IllegalAddress  = 0x02
	IllegalValue    = 0x03
	DeviceFailure   = 0x04
	GatewayTarget   = 0x0b // GatewayTarget says that no device has the unit id that was asked for.
)

// Function codes of MAP 6.
const (
	readCoils          = 1
	readDiscretes      = 2
	readHolding        = 3
	readInput          = 4
	writeCoil          = 5
	writeRegister      = 6
	writeCoils         = 15
	writeRegisters     = 16
	maskRegister       = 22
	readWriteRegisters = 23
)

// Result is what became of a request.
type Result struct {
	Function  byte
	Exception byte   // 0 when the request was answered
	Slot      bool   // the answer has the whole slot point in it
	Written   bool   // the request wrote the values
	Table     Table  // where it wrote
	Start     uint16 // first address written
	Values    []uint16
}

// request is one request on its way through the state diagrams of MAP 6. Each of its methods
// returns an exception code, 0 for none.
type request struct {
	*Memory
	pdu []byte
	at  Instant
	out []byte
	res Result
}

// Serve executes a request and appends the PDU of its answer. Instant.Slot is the value for an
// answer that has the whole slot in it: Result.Slot then says that it was used. A request that
// has half of the slot reads part of slotBefore, the number of polls so far.
func (m *Memory) Serve(to, pdu []byte, at Instant, slotBefore uint64) ([]byte, Result) {
	r := request{Memory: m, pdu: pdu, at: at, out: to}
	if len(pdu) == 0 {
		return to, r.res
	}
	r.res.Function = pdu[0]
	if !r.readsSlot() {
		r.at.Slot = slotBefore
	}
	r.res.Exception = r.execute()
	if r.res.Exception != 0 {
		r.res.Slot = false
		return AppendException(to, pdu[0], r.res.Exception), r.res
	}
	return r.out, r.res
}

// readsSlot looks ahead: the slot's value must be known before the first byte is put into the answer.
func (r *request) readsSlot() bool {
	if len(r.pdu) < 5 {
		return false
	}
	start, n := int(binary.BigEndian.Uint16(r.pdu[1:])), int(binary.BigEndian.Uint16(r.pdu[3:]))
	switch r.pdu[0] {
	case readHolding, readWriteRegisters:
		r.res.Slot = r.layout.coversSlot(Holding, start, n)
	case readInput:
		r.res.Slot = r.layout.coversSlot(Input, start, n)
	}
	return r.res.Slot
}

func (r *request) execute() byte {
	switch r.pdu[0] {
	case readCoils:
		return r.readBits(Coil)
	case readDiscretes:
		return r.readBits(Discrete)
	case readHolding:
		return r.readRegisters(Holding)
	case readInput:
		return r.readRegisters(Input)
	case writeCoil:
		return r.writeCoil()
	case writeRegister:
		return r.writeRegister()
	case writeCoils:
		return r.writeCoils()
	case writeRegisters:
		return r.writeRegisters()
	case maskRegister:
		return r.maskRegister()
	case readWriteRegisters:
		return r.readWrite()
	}
	return r.executeOther()
}

// fields returns the two 16-bit fields that most requests begin with.
func (r *request) fields() (a, b int) {
	return int(binary.BigEndian.Uint16(r.pdu[1:])), int(binary.BigEndian.Uint16(r.pdu[3:]))
}

// readBits is MAP 6.1 and 6.2.
func (r *request) readBits(t Table) byte {
	if len(r.pdu) != 5 {
		return IllegalValue
	}
	start, n := r.fields()
	if n < 1 || n > maxReadBits {
		return IllegalValue
	}
	if !r.layout.tables[t].allows(start, n) {
		return IllegalAddress
	}
	size := (n + 7) / 8
	r.out = append(r.out, r.pdu[0], byte(size))
	first := len(r.out)
	r.out = slices.Grow(r.out, size)[:first+size]
	clear(r.out[first:])
	next := r.layout.from(t, start)
	for i := range n {
		var on bool
		if on, next = r.bit(t, start+i, next, r.at); on {
			r.out[first+i/8] |= 1 << (i % 8)
		}
	}
	return 0
}

// readRegisters is MAP 6.3 and 6.4.
func (r *request) readRegisters(t Table) byte {
	if len(r.pdu) != 5 {
		return IllegalValue
	}
	start, n := r.fields()
	if n < 1 || n > maxReadRegisters {
		return IllegalValue
	}
	if !r.layout.tables[t].allows(start, n) {
		return IllegalAddress
	}
	r.appendRegisters(t, start, n)
	return 0
}

func (r *request) appendRegisters(t Table, start, n int) {
	r.out = append(r.out, r.pdu[0], byte(2*n))
	first := len(r.out)
	r.out = slices.Grow(r.out, 2*n)[:first+2*n]
	r.registers(r.out[first:], t, start, n, r.at)
}

// mayWrite is the address step of the writing diagrams.
func (r *request) mayWrite(t Table, start, n int) bool {
	return r.layout.tables[t].allows(start, n) && r.writable(t, start, n)
}

// wrote notes what a request wrote.
func (r *request) wrote(t Table, start int, values []uint16) {
	r.res.Written, r.res.Table, r.res.Start = true, t, uint16(start)
	r.res.Values = append([]uint16(nil), values...)
}

// writeCoil is MAP 6.5.
func (r *request) writeCoil() byte {
	if len(r.pdu) != 5 {
		return IllegalValue
	}
	address, value := r.fields()
	if value != 0 && value != 0xff00 {
		return IllegalValue
	}
	if !r.mayWrite(Coil, address, 1) {
		return IllegalAddress
	}
	words := r.words(Coil, address, 1, r.at)
	words[0] = uint16(value >> 15)
	r.wrote(Coil, address, words)
	r.out = append(r.out, r.pdu...)
	return 0
}

// writeRegister is MAP 6.6.
func (r *request) writeRegister() byte {
	if len(r.pdu) != 5 {
		return IllegalValue
	}
	address, value := r.fields()
	if !r.mayWrite(Holding, address, 1) {
		return IllegalAddress
	}
	words := r.words(Holding, address, 1, r.at)
	words[0] = uint16(value)
	r.wrote(Holding, address, words)
	r.out = append(r.out, r.pdu...)
	return 0
}

// writeCoils is MAP 6.11.
func (r *request) writeCoils() byte {
	if len(r.pdu) < 6 {
		return IllegalValue
	}
	start, n := r.fields()
	size := (n + 7) / 8
	if n < 1 || n > maxWriteBits || int(r.pdu[5]) != size || len(r.pdu) != 6+size {
		return IllegalValue
	}
	if !r.mayWrite(Coil, start, n) {
		return IllegalAddress
	}
	words := r.words(Coil, start, n, r.at)
	for i := range words {
		words[i] = uint16(r.pdu[6+i/8] >> (i % 8) & 1)
	}
	r.wrote(Coil, start, words)
	r.out = append(r.out, r.pdu[:5]...)
	return 0
}

// writeRegisters is MAP 6.12.
func (r *request) writeRegisters() byte {
	if len(r.pdu) < 6 {
		return IllegalValue
	}
	start, n := r.fields()
	if n < 1 || n > maxWriteRegisters || int(r.pdu[5]) != 2*n || len(r.pdu) != 6+2*n {
		return IllegalValue
	}
	if !r.mayWrite(Holding, start, n) {
		return IllegalAddress
	}
	r.store(start, n, r.pdu[6:])
	r.out = append(r.out, r.pdu[:5]...)
	return 0
}

// store puts n registers from the bytes of a request into the holding table.
func (r *request) store(start, n int, from []byte) {
	words := r.words(Holding, start, n, r.at)
	for i := range words {
		words[i] = binary.BigEndian.Uint16(from[2*i:])
	}
	r.wrote(Holding, start, words)
}

// maskRegister is MAP 6.16: result = (current AND and) OR (or AND NOT and).
func (r *request) maskRegister() byte {
	if len(r.pdu) != 7 {
		return IllegalValue
	}
	address, and := r.fields()
	or := binary.BigEndian.Uint16(r.pdu[5:])
	if !r.mayWrite(Holding, address, 1) {
		return IllegalAddress
	}
	words := r.words(Holding, address, 1, r.at)
	words[0] = words[0]&uint16(and) | or&^uint16(and)
	r.wrote(Holding, address, words)
	r.out = append(r.out, r.pdu...)
	return 0
}

// readWrite is MAP 6.17: the write comes before the read.
func (r *request) readWrite() byte {
	if len(r.pdu) < 10 {
		return IllegalValue
	}
	start, n := r.fields()
	to, m := int(binary.BigEndian.Uint16(r.pdu[5:])), int(binary.BigEndian.Uint16(r.pdu[7:]))
	if n < 1 || n > maxReadRegisters || m < 1 || m > maxReadWrite || int(r.pdu[9]) != 2*m || len(r.pdu) != 10+2*m {
		return IllegalValue
	}
	if !r.layout.tables[Holding].allows(start, n) || !r.mayWrite(Holding, to, m) {
		return IllegalAddress
	}
	r.store(to, m, r.pdu[10:])
	r.appendRegisters(Holding, start, n)
	return 0
}
