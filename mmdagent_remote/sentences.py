"""stub"""
import re
class SentenceCutter:
    def __init__(self) -> None: self.b=""
    def feed(self, piece: str) -> list[str]:
        self.b+=piece
        *a, self.b = re.split(r"(?<=[.!?。])\s", self.b)
        return [x for x in a if x.strip()]
    def flush(self) -> list[str]:
        return [self.b.strip()] if self.b.strip() else []
def cut_to_fit(text: str, max_bytes: int) -> list[str]:
    out=[]; 
    while len(text.encode())>max_bytes:
        n=max_bytes//3; out.append(text[:n]); text=text[n:]
    return out+[text]
