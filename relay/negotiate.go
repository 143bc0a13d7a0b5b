package relay

import (
	"strconv"
	"strings"
)

// matches says whether an If-None-Match names etag.
func matches(header []string, etag string) bool {
	for _, line := range header {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}

// choose picks the form to send by RFC 9110's Accept-Encoding, preferring the
// smallest: brotli, gzip, plain. unzip says that the chosen form is gzip and to
// be sent plain: the file is there compressed only.
func choose(forms map[string]form, header []string) (coding string, unzip, ok bool) {
	accept := parseAccept(header)
	_, plain := forms[""]
	_, zipped := forms["gzip"]
	best, bestQ := "", 0.0
	for _, c := range []string{"br", "gzip", ""} {
		_, there := forms[c]
		if c == "" {
			there = plain || zipped
		}
		if q := accept.quality(c); there && q > bestQ {
			best, bestQ = c, q
		}
	}
	switch {
	case bestQ == 0:
		return "", false, false
	case best == "" && !plain:
		return "gzip", true, true
	default:
		return best, false, true
	}
}

// accepted maps a content coding, or *, to its quality.
type accepted map[string]float64

func parseAccept(header []string) accepted {
	a := make(accepted)
	for _, line := range header {
		for part := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(part, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			if coding == "" {
				continue
			}
			q := 1.0
			if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q="); ok {
				var err error
				if q, err = strconv.ParseFloat(v, 64); err != nil || q < 0 || q > 1 {
					q = 0
				}
			}
			a[coding] = q
		}
	}
	return a
}

// quality of a coding; "" is the plain form, which is acceptable, as the last
// resort, unless it is refused.
func (a accepted) quality(coding string) float64 {
	if coding == "" {
		if q, ok := a["identity"]; ok {
			return q
		}
		if q, ok := a["*"]; ok && q == 0 {
			return 0
		}
		return 0.0001
	}
	if q, ok := a[coding]; ok {
		return q
	}
	return a["*"]
}
