package modbus

import (
	"fmt"

	"github.com/fieldloom/fieldloom/core/driver"
)

// exceptionBit marks the function code of an exception response (clause 7).
const exceptionBit = 0x80

// The exception codes (clause 7).
const (
	illegalFunction    = 1
	illegalDataAddress = 2
	illegalDataValue   = 3
	acknowledge        = 5
)

// exception is the fault that an exception code stands for.
func exception(code byte) *driver.Error {
	name, instruction := describe(code)
	fault := &driver.Error{Code: instruction, Text: fmt.Sprintf("exception %d (%s)", code, name)}
	if code == acknowledge {
		fault.Err = driver.ErrMayBeDone // the device has taken the request and works on it
	}
	return fault
}

// describe names an exception code (clause 7) and says what the engine is to do.
func describe(code byte) (string, driver.Code) {
	switch code {
	case illegalFunction:
		return "illegal function", driver.Unsupported
	case illegalDataAddress:
		return "illegal data address", driver.NotFound
	case illegalDataValue:
		return "illegal data value", driver.BadValue
	case 4:
		return "server device failure", driver.Protocol
	case acknowledge:
		return "acknowledge", driver.Busy
	case 6:
		return "server device busy", driver.Busy
	case 7:
		return "negative acknowledge", driver.Denied // of Modbus before V1.1
	case 8:
		return "memory parity error", driver.Protocol
	case 10:
		// The unit cannot be reached, but the wire is well.
		return "gateway path unavailable", driver.Timeout
	case 11:
		return "gateway target device failed to respond", driver.Timeout
	default:
		return "unknown", driver.Protocol
	}
}

// refusesAddress reports whether an exception code may be due to some of the addresses of a
// request: to one that there is not, or to too many of them.
func refusesAddress(code byte) bool { return code == illegalDataAddress || code == illegalDataValue }
