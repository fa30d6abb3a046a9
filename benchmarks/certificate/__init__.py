"""Does `CertifiedRule` keep its promise?"""
