//go:build !amd64

package confine_test

import "errors"

func thirtyTwoBits(*scene) error { return errors.New("no such gate on this architecture") }
