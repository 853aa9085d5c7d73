package carrier

import "testing"

// A time that is not 0 does not become 0.
func TestTimesThatWouldBeNone(t *testing.T) {
	for text, well := range map[string]bool{`"0s"`: true, `"1ns"`: true, `"0.0000001ms"`: false, `"1e9s"`: false, `1`: false} {
		var d Duration
		if err := d.UnmarshalJSON([]byte(text)); (err == nil) != well {
			t.Errorf("%s is %v, %v", text, d, err)
		}
	}
}
