"""Find, align and follow faces, group them into tracks by person, and partition them into regions."""
