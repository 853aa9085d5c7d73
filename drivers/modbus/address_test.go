package modbus_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/drivers/modbus"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in, canonical string
		want          modbus.Address
		items         int
	}{
		{"holding:100", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"holding:0x64", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"holding:100:uint16", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"holding:100:float32", "holding:100:float32", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Float32}, 2},
		{"holding:100:float32:cdab", "holding:100:float32:cdab", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Float32, Order: modbus.CDAB}, 2},
		{"holding:100:badc", "holding:100:badc", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16, Order: modbus.BADC}, 1},
		{"holding:100.3", "holding:100.3", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Bit, Bit: 3}, 1},
		{"holding:100.15:bool:dcba", "holding:100.15:dcba", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Bit, Bit: 15, Order: modbus.DCBA}, 1},
		{"holding:100:bool", "holding:100:bool", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Bool}, 1},
		{"holding:100:string:20", "holding:100:string:20", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.String, Size: 20}, 10},
		{"holding:5.4-6", "holding:5.4-6", modbus.Address{Table: modbus.Holding, Start: 5, Type: modbus.Unsigned, Bit: 4, Width: 3}, 1},
		{"40006.4-6:int:badc", "holding:5.4-6:int:badc", modbus.Address{Table: modbus.Holding, Start: 5, Type: modbus.Signed, Bit: 4, Width: 3, Order: modbus.BADC}, 1},
		{"holding:5.3-3:uint", "holding:5.3-3", modbus.Address{Table: modbus.Holding, Start: 5, Type: modbus.Unsigned, Bit: 3, Width: 1}, 1},
		{"holding:5.0-11:int12", "holding:5.0-11:int", modbus.Address{Table: modbus.Holding, Start: 5, Type: modbus.Signed, Width: 12}, 1},
		{"holding:5.8-15:int8", "holding:5:int8h", modbus.Address{Table: modbus.Holding, Start: 5, Type: modbus.Signed, Bit: 8, Width: 8}, 1},
		{"holding:5:uint8", "holding:5:uint8l", modbus.Address{Table: modbus.Holding, Start: 5, Type: modbus.Unsigned, Width: 8}, 1},
		{"input:5:uint48:cdab", "input:5:uint48:cdab", modbus.Address{Table: modbus.Input, Start: 5, Type: modbus.Uint48, Order: modbus.CDAB}, 3},
		{"input:5:int24", "input:5:int24", modbus.Address{Table: modbus.Input, Start: 5, Type: modbus.Int24}, 2},
		{"input:5:bcd16", "input:5:bcd16", modbus.Address{Table: modbus.Input, Start: 5, Type: modbus.BCD16}, 1},
		{"input:5:cp56:dcba", "input:5:cp56:dcba", modbus.Address{Table: modbus.Input, Start: 5, Type: modbus.CP56, Order: modbus.DCBA}, 4},
		{"input:5:latin1:9", "input:5:latin1:9", modbus.Address{Table: modbus.Input, Start: 5, Type: modbus.Latin1, Size: 9}, 5},
		{"input:5:utf8:9", "input:5:string:9", modbus.Address{Table: modbus.Input, Start: 5, Type: modbus.String, Size: 9}, 5},
		{"input:0:bytes:7:badc", "input:0:bytes:7:badc", modbus.Address{Table: modbus.Input, Type: modbus.Bytes, Size: 7, Order: modbus.BADC}, 4},
		{"input:65532:float64", "input:65532:float64", modbus.Address{Table: modbus.Input, Start: 65532, Type: modbus.Float64}, 4},
		{"coil:5", "coil:5", modbus.Address{Table: modbus.Coil, Start: 5, Type: modbus.Bool}, 1},
		{"discrete:7:bool", "discrete:7", modbus.Address{Table: modbus.Discrete, Start: 7, Type: modbus.Bool}, 1},
		{"40101", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"400101", "holding:100", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Uint16}, 1},
		{"465536", "holding:65535", modbus.Address{Table: modbus.Holding, Start: 65535, Type: modbus.Uint16}, 1},
		{"40101:float32:cdab", "holding:100:float32:cdab", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Float32, Order: modbus.CDAB}, 2},
		{"40101.3", "holding:100.3", modbus.Address{Table: modbus.Holding, Start: 100, Type: modbus.Bit, Bit: 3}, 1},
		{"30001:int16", "input:0:int16", modbus.Address{Table: modbus.Input, Type: modbus.Int16}, 1},
		{"00001", "coil:0", modbus.Address{Table: modbus.Coil, Type: modbus.Bool}, 1},
		{"10001", "discrete:0", modbus.Address{Table: modbus.Discrete, Type: modbus.Bool}, 1},
	}
	for _, test := range tests {
		got, err := modbus.ParseAddress(test.in)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.in, diff)
		}
		if got.String() != test.canonical {
			t.Errorf("%s prints as %s, want %s", test.in, got, test.canonical)
		}
		if n := modbus.Items(got); n != test.items {
			t.Errorf("%s takes %d items, want %d", test.in, n, test.items)
		}
	}
}

func TestParseAddressRejects(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "has 0 digits",
		"holding":                   "the number is missing: write it as holding:100",
		"holding:":                  "is not a number from 0 to 65535",
		"holding:-1":                "is not a number from 0 to 65535",
		"holding:65536":             "is not a number from 0 to 65535",
		"holding:0x":                "is not a number from 0 to 65535",
		"register:1":                "is no table",
		"Holding:1":                 "is no table",
		"100":                       "has 3 digits",
		"4010100":                   "has 7 digits",
		"20001":                     "starts with 0 (coil)",
		"40000":                     "counts from 1",
		"465537":                    "counts from 1",
		"holding:100.16":            "not a number from 0 to 15",
		"holding:100.":              "not a number from 0 to 15",
		"coil:5.1":                  "has no bit",
		"coil:5:uint16":             "one bit is a bool",
		"coil:5:abcd":               "has no order",
		"holding:100.3:uint16":      "one bit is a bool",
		"holding:1:int9":            `"int9" is neither a type`,
		"holding:1:flaot32":         "did you mean float32?",
		"holding:1:float":           "did you mean float32 or float64?",
		"holding:1:bcd":             "did you mean bcd16 or bcd32?",
		"holding:1:Latin1:4":        "did you mean latin1:SIZE?",
		"holding:1:epoch64m":        "did you mean epoch64 or epoch64ms?",
		"holding:1:uint":            "is the type of bits of a register: write them as in holding:100.4-6:uint, or the type as uint16",
		"holding:1.6-4":             "the wrong way round: write them as 4-6",
		"holding:1.4-16":            `bit "16" is not a number from 0 to 15`,
		"holding:1.-4":              `bit "" is not a number from 0 to 15`,
		"holding:1.4-":              `bit "" is not a number from 0 to 15`,
		"holding:1.4-6-8":           `bit "6-8" is not a number`,
		"holding:1.4-6:int16":       "a field of 3 bits is uint (the default) or int, not int16",
		"holding:1.4-6:bool":        "a field of 3 bits is uint",
		"holding:1.4:int":           "one bit is a bool",
		"coil:1.4-6":                "has no bit",
		"coil:1:int8h":              "one bit is a bool",
		"holding:65533:cp56":        "it ends at 65536",
		"holding:1:latin1":          "the size is missing",
		"holding:1:float32:abdc":    "is no order",
		"holding:1:float32:abcd:x":  "nothing follows the order",
		"holding:1:string":          "the size is missing",
		"holding:1:string:0":        "bytes from 1 to 250",
		"holding:1:bytes:251":       "bytes from 1 to 250",
		"holding:65535:float32":     "it ends at 65536",
		"holding:65530:string:13":   "it ends at 65536",
		"465536:uint32":             "it ends at 65536",
		"holding:1:uint16:abcd:":    "nothing follows",
		"holding:1:string:20:word":  "is no order",
		"holding:1 ":                "is not a number",
		"40101,3":                   "is no table",
		"holding:18446744073709551": "is not a number",
	} {
		_, err := modbus.ParseAddress(in)
		if err == nil {
			t.Errorf("%q was taken", in)
			continue
		}
		if !contains(err.Error(), want) || !contains(err.Error(), fmt.Sprintf("address %q", in)) {
			t.Errorf("%q: error %q does not say %q", in, err, want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"holding:100", "40101.3", "coil:0", "input:0x10:string:20:badc", "465536:float64", "40101.4-6:int", "input:3:uint8h:badc", "input:3:cp56", "input:3:latin1:9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := modbus.ParseAddress(s)
		if err != nil {
			return
		}
		again, err := modbus.ParseAddress(a.String())
		if err != nil || again != a {
			t.Fatalf("%q is %+v, prints as %s, which is %+v (%v)", s, a, a, again, err)
		}
		if last := int(a.Start) + modbus.Items(a) - 1; last > 65535 {
			t.Fatalf("%q ends at %d", s, last)
		}
	})
}

func ExampleParseAddress() {
	for _, s := range []string{"40101", "holding:100.3", "40101:float32:cdab", "coil:70000"} {
		a, err := modbus.ParseAddress(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(a)
	}
	// Output:
	// holding:100
	// holding:100.3
	// holding:100:float32:cdab
	// address "coil:70000": "70000" is not a number from 0 to 65535
}
