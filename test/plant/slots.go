package plant

import (
	"fmt"
	"strconv"
)

// Slots counts the Good values of slot points by device. The value is the number
// of polls that the simulator had served, so each number from 1 on stands for
// one poll.
func Slots(samples []Sample) (map[string]map[uint64]int, error) {
	seen := map[string]map[uint64]int{}
	for _, s := range samples {
		if s.Quality != "good" {
			continue
		}
		n, err := strconv.ParseUint(string(s.Value), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: slot %s: %w", s.Link, s.Device, s.Value, err)
		}
		key := s.Link + "/" + s.Device
		if seen[key] == nil {
			seen[key] = map[uint64]int{}
		}
		seen[key][n]++
	}
	return seen, nil
}

// EachOnce says what is wrong when seen does not hold each number from 1 to n
// exactly once.
func EachOnce(seen map[uint64]int, n uint64) error {
	var missing, repeated []uint64
	for i := uint64(1); i <= n; i++ {
		switch seen[i] {
		case 0:
			missing = append(missing, i)
		case 1:
		default:
			repeated = append(repeated, i)
		}
	}
	beyond := 0
	for i := range seen {
		if i == 0 || i > n {
			beyond++
		}
	}
	if len(missing)+len(repeated)+beyond == 0 {
		return nil
	}
	return fmt.Errorf("of %d served: %d missing %v, %d repeated %v, %d never served",
		n, len(missing), head(missing), len(repeated), head(repeated), beyond)
}

func head(all []uint64) []uint64 { return all[:min(len(all), 5)] }

// Contiguous says what is wrong when seen does not hold each number from its
// least to its largest exactly once, and tells how many there are.
func Contiguous(seen map[uint64]int) (int, error) {
	least, most := ^uint64(0), uint64(0)
	for i := range seen {
		least, most = min(least, i), max(most, i)
	}
	if len(seen) == 0 {
		return 0, fmt.Errorf("nothing is stored")
	}
	shifted := map[uint64]int{}
	for i, n := range seen {
		shifted[i-least+1] = n
	}
	return len(seen), EachOnce(shifted, most-least+1)
}
