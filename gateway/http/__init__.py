"""The JSON endpoints: who is calling, what is asked, what is answered."""
