package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A share is a flag in percent, from 0 to 100; its value is from 0 to 1.
type share struct{ value *float64 }

func (s share) String() string {
	if s.value == nil {
		return ""
	}
	return strconv.FormatFloat(*s.value*100, 'g', 4, 64) + "%"
}

// Set implements pflag.Value.
func (s share) Set(word string) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(word, "%")), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return fmt.Errorf("it is a share such as 5%%, from 0%% to 100%%")
	}
	*s.value = v / 100
	return nil
}

// Type implements pflag.Value.
func (share) Type() string { return "P%" }

// An amount is a flag in bytes: 500M, 2.5GiB, 1000. Below 0 it is not given.
type amount struct{ value *int64 }

func (a amount) String() string {
	if a.value == nil || *a.value < 0 {
		return ""
	}
	return iec(*a.value)
}

// Set implements pflag.Value.
func (a amount) Set(word string) (err error) {
	*a.value, err = parseAmount(word)
	return err
}

// Type implements pflag.Value.
func (amount) Type() string { return "SIZE" }

// parseAmount reads a number of bytes. As everywhere in the program the units
// are powers of 1024, however they are written: 1G, 1GB and 1GiB are the same.
func parseAmount(word string) (int64, error) {
	number := strings.TrimSpace(strings.ToUpper(word))
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	unit := 1.0
	if n := len(number); n > 0 {
		if i := strings.IndexByte("KMGTPE", number[n-1]); i >= 0 {
			unit, number = math.Pow(1024, float64(i+1)), number[:n-1]
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if v *= unit; err != nil || !(v >= 0 && v < math.MaxInt64) {
		return 0, fmt.Errorf("it is a size such as 500M or 2G")
	}
	return int64(v), nil
}
