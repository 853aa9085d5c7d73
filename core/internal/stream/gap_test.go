package stream

import "testing"

// TestGapsNameTheirDriver: a driver's own words are told as its words, whoever they speak of.
func TestGapsNameTheirDriver(t *testing.T) {
	for _, tc := range []struct{ driver, text, want string }{
		{"", "driver acme: frames 1 to 5 never came", "driver acme: frames 1 to 5 never came"},
		{"acme", "driver acme: a frame was refused", "driver acme: a frame was refused"},
		{"evil", "driver acme: frames 1 to 5 never came", "driver evil: driver acme: frames 1 to 5 never came"},
		{"evil", "driver evilacme: x", "driver evil: driver evilacme: x"},
	} {
		if got := spokenBy(tc.driver, tc.text); got != tc.want {
			t.Errorf("%q of %q is told as %q, want %q", tc.text, tc.driver, got, tc.want)
		}
	}
}
