package main

func memory(int) ([]*figure, error) { return nil, nil }
