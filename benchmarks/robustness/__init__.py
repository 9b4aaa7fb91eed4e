"""What crashes, damaged files, strangers' datagrams and token holders who mean harm can do to the product."""
